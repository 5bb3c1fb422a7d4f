#!/usr/bin/env bash
# From a fresh clone to generated text: installs what is missing, builds, compiles the bundled model for an
# Orin Nano and for this machine, and runs the latter. A second run takes seconds.
# usage: tools/quickstart.sh
set -euo pipefail
# shellcheck source=tools/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

prompt='Once upon a time'
out="$build_dir/quickstart"
device_plan="$out/tiny.orin-nano-8gb.jllm"
host_plan="$out/tiny.host.jllm"
jllmc="$build_dir/bin/jllmc"
jllm="$build_dir/bin/jllm"
steps=5
step_number=0
started=$(now_ms)
step_started=$started

step() {
  step_number=$((step_number + 1))
  step_started=$(now_ms)
  printf '\n[%d/%d] %s\n' "$step_number" "$steps" "$*"
}
step_done() { say "      done in $(seconds_since "$step_started")"; }
fail() {
  warn ''
  die "quickstart stopped in step $step_number: $*"
}

find_model() {
  local model
  for model in "$repo"/examples/models/*.gguf; do
    if [ -f "$model" ]; then
      printf '%s' "$model"
      return 0
    fi
  done
  return 1
}

# show NAME COMMAND...: prints the command as the user would type it, then its output, indented; stderr is
# kept in the log as well.
show() {
  local log="$log_dir/$1.log" status=0 word line=''
  shift
  mkdir -p "$log_dir"
  for word in "${@//"$repo/"/}"; do
    if [[ "$word" == *' '* ]]; then word="'$word'"; fi
    line+=" $word"
  done
  say "      \$$line"
  # Paths relative to the repository, as printed, so that the line can be typed again.
  (cd "$repo" && "${@//"$repo/"/}" 2>&1 </dev/null) | tee "$log" | sed 's/^/      /' || status=$?
  if [ "$status" != 0 ]; then warn "      exit status $status; log: $log"; fi
  return "$status"
}

compile_for_device() {
  if [ "$have_nvrtc" = 0 ]; then
    say "      skipped: compiling for a GPU needs NVRTC 12, and there is none (step 2 says how to get it)"
    return 0
  fi
  show compile-orin "$jllmc" compile "$model" --target orin-nano-8gb -o "$device_plan" --report=text ||
    fail "the model could not be compiled for orin-nano-8gb"
  step_done
}

run_on_host() {
  show compile-host "$jllmc" compile "$model" --target host -o "$host_plan" ||
    fail "the model could not be compiled for this machine"
  show run-host "$jllm" run "$host_plan" -p "$prompt" -n 100 || fail "the plan did not run"
  step_done
}

next_steps() {
  local shown_model=${model#"$repo/"}
  say ''
  if [ "$have_nvrtc" = 1 ]; then
    say "Finished in $(seconds_since "$started"). What next:"
    say "  on an Orin Nano     in a clone there: tools/setup.sh --device && cmake --preset device &&"
    say "                      cmake --build --preset device; then copy ${device_plan#"$repo/"} there and"
    say "                      build-device/bin/jllm run tiny.orin-nano-8gb.jllm -p '$prompt'"
  else
    say "Finished in $(seconds_since "$started"), without the plan for the Orin Nano (no NVRTC: see step 2). What next:"
  fi
  say "  another model       build/bin/jllmc compile MODEL.gguf --target orin-nano-8gb -o MODEL.jllm --report=text"
  say "  another device      build/bin/jllmc compile $shown_model --target h200 -o tiny.h200.jllm"
  say "  the tests           tools/test.sh"
  say "  all of it           README.md"
}

main() {
  if [ $# -gt 0 ]; then sed -n '2,4s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 2; fi
  say 'jllm quickstart: set up, build, compile a small model, run it'

  step 'What building needs'
  "$repo/tools/setup.sh" || fail 'the set-up is not complete (above)'
  load_environment

  step 'NVRTC, which compiles the kernels'
  have_nvrtc=1
  if nvrtc=$("$repo/tools/get_nvrtc.sh" --major 12); then say "      ${nvrtc#"$repo/"}"; else have_nvrtc=0; fi

  step 'Build jllmc (the compiler) and jllm (the executor)'
  build jllmc jllm || fail "the build failed (above)"
  step_done

  model=$(find_model) || { step_number=4; fail "no model: examples/models/ holds no .gguf file"; }
  mkdir -p "$out"

  step "Compile ${model##*/} for a Jetson Orin Nano 8 GB: does it fit, and in what memory?"
  compile_for_device

  step 'Compile it for this machine and generate text'
  run_on_host


  next_steps
}

main "$@"

#!/usr/bin/env bash
# Executor and schema once more, with counters of lines and under the address (leaks too) and undefined-behaviour
# sanitizers (preset `coverage`, build-coverage/), linked into the tests of build/. Fails when a test does, or when less
# than 95 % of the lines of executor/ or of schema/ were run.
# usage: tools/coverage.sh
# Writes build/coverage/report.txt (lines per file, and those that were not run) and build/coverage/report.json.
# build/ must be built (tools/test.sh). Left out are cases that take long here and run no further line, and those
# that some machines skip (with a GPU, without cuda.h).
set -euo pipefail
# shellcheck source=tools/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

build_coverage="$repo/build-coverage"
report_dir="$build_dir/coverage"

# A test, and which of its cases. The longest first: two run at a time.
cases=(
  'fake_cuda_test CreateOnFakeCuda.FailsCleanly*:BrokenKernel.*:SealedTable.*:All/FaultLadder.*/EagerFromThenOn'
  'fake_cuda_test All/FaultLadder.*/GraphsOnce'
  'executor_test -Create.NeedsExactlyTheArenaBytes*:Create.ACudaPlanWithoutADriver*:Sequence.Every*:RecentRows.R*:RecentRows.Drafts*:RecentRows.EverySplit*:All/Speculation.*:SpeculationOnThreads.*:All/Prefixes.*/F*:All/Prefixes.*/S*:All/Prefixes.*/E*:All/Prefixes.*/T*:All/Prefixes.*/W*:All/Slots.*/Q*:All/Slots.*/Speculating'
  'tokenizer_test -Vocabulary.*:Differential*:All/*:*LongRuns*:*LongRun*:*EqualsTheDefinition*:*EveryPreTokenizer:TokenizerSegment.*NeverCrash'
  'host_ops_test -HostProduct.FusingInstructionSetsAgreeBitForBit'
  'chat_test Builtin.*:RenderChat.*:RenderTools.*:Chat*-*AnyByteMayBeWrong'
  'plan_view_test -Mutation.*:Prefix.EveryTruncationIsRefused'
  'launch_proof_test *'
  'cuda_executor_test *'
  'fake_cuda_models_test */Primitive'
  'platform_test *'
  'thread_pool_test *'
  'cuda_driver_test -CudaDriver.DeclarationsMatchTheToolkitHeader'
  'serve_test JsonGrammar.*:TokenMasks.*:All/Schemas.*'
  'inspect_test *'
  'c_api_test plans:example split vectors'
  'text_api_test plans:example'
  'missing_backend_test plans:example'
)

# run_one TEST FILTER: its output only when it fails. A test in C has plans instead of a filter; what is named after CUDA or
# a GPU runs on the fake driver (docs/fake-cuda.md).
# What skips a case, or has none, fails: the lines that are missed would not tell why.
run_one() {
  local log="$report_dir/$1.$$.log" start_ms plan
  local -a words=(--gtest_brief=1 "--gtest_filter=$2") beside=()
  if [ "${2#plans:}" != "$2" ]; then
    words=()
    for plan in ${2#plans:}; do words+=("$report_dir/$plan.jllm"); done
  fi
  if [[ $1 == *cuda* || $1 == *gpu* ]]; then beside=("$build_dir/fake_cuda/run"); fi
  start_ms=$(now_ms)
  if ! ${beside[@]+"${beside[@]}"} "$build_coverage/tests/$1" "${words[@]}" >"$log" 2>&1 </dev/null ||
    grep -qE '^\[  SKIPPED \]|\] 0 tests from' "$log"; then
    tail -n 60 "$log" >&2
    warn "failed, or skipped a case: $1 ${words[*]}"
    return 1
  fi
  printf '  %s %s: %s, %s\n' "$1" "$2" "$(sed -n 's/^\[==========\] \(.*\) ran\..*/\1/p' "$log")" \
    "$(seconds_since "$start_ms")"
}

compile_example() {
  "$build_dir/bin/jllmc" compile "$repo/examples/models/tiny-workshop-5m.q4_k_m.gguf" --target host --context 256 \
    -o "$@" >/dev/null
}

run_tests() {
  local one status=0
  find "$build_coverage" -name '*.gcda' -delete
  rm -f "$report_dir"/*.log
  # The bundled model, as ctest has it for the tests in C.
  compile_example "$report_dir/example.jllm"
  compile_example "$report_dir/split.jllm" --split-weights --selftest never
  compile_example "$report_dir/vectors.jllm" --embedding last
  for one in "${cases[@]}"; do printf '%s\0%s\0' "${one%% *}" "${one#* }"; done |
    xargs -0 -n 2 -P 2 "${BASH_SOURCE[0]}" --one || status=1
  [ "$status" = 0 ] || die 'a test failed under the sanitizers (above)'
}

main() {
  local llvm_dir
  local -a tests
  case "${1:-}" in
    -h | --help) sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    --one) run_one "$2" "$3"; exit ;;  # by run_tests
  esac
  load_environment
  if ! command -v gcov >/dev/null; then warn 'skipped: gcov is missing'; exit 77; fi
  [ -x "$build_dir/tests/fake_cuda_test" ] || die 'build/ has no tests: run tools/test.sh, or ninja -C build'
  mkdir -p "$report_dir"
  llvm_dir=$(find_llvm_dir)
  (cd "$repo" && run_logged configure-coverage cmake --preset coverage "-DJLLM_WERROR=${JLLM_WERROR:-OFF}" \
    ${llvm_dir:+"-DLLVM_DIR=$llvm_dir"})
  mapfile -t tests < <(printf '%s\n' "${cases[@]%% *}" | sort -u)
  run_logged build-coverage ninja -C "$build_coverage" -j "$(build_jobs)" "${tests[@]}"
  say 'under the sanitizers:'
  run_tests
  "$repo/tools/coverage.py" --source "$repo" --build "$build_coverage" --json "$report_dir/report.json" \
    --at-least schema=95 --at-least executor=95 | tee "$report_dir/report.txt"
}

main "$@"

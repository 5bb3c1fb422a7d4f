#!/usr/bin/env bash
# Builds the fuzz targets with clang, libFuzzer and sanitizers, and runs each for a while over the committed corpus.
# usage: tools/fuzz.sh [--seconds N] [--build-only] [TARGET...]      default: 20 seconds, all targets
# New inputs go to build-fuzz/corpus/TARGET and are kept for the next run; what breaks a promise goes to
# build-fuzz/findings/TARGET, and the script leaves with status 1. docs/fuzzing.md says what to do with it.
set -euo pipefail
# shellcheck source=tools/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

fuzz_dir="$repo/build-fuzz"
all_targets=(plan launch gguf edits tokenizer chat json prefix)
seconds=20
build_only=0
one=0
targets=()

while [ $# -gt 0 ]; do
  case "$1" in
    --seconds)
      [[ "${2:-}" =~ ^[0-9]+$ ]] || die '--seconds wants a number'
      seconds=$2
      shift
      ;;
    --build-only) build_only=1 ;;
    --one) one=1 ;;  # a target that is built; by itself
    -h | --help)
      sed -n '2,5s/^# //p' "$0"
      exit 0
      ;;
    -*) die "unknown option $1; see $0 --help" ;;
    *)
      [[ " ${all_targets[*]} " == *" $1 "* ]] || die "unknown target $1; there are: ${all_targets[*]}"
      targets+=("$1")
      ;;
  esac
  shift
done
if [ "${#targets[@]}" = 0 ]; then targets=("${all_targets[@]}"); fi

# Runs one target; the last line that libFuzzer prints says what it did.
fuzz() {
  local target=$1 log="$log_dir/fuzz-$1.log"
  local seeds="$repo/tests/fuzz/corpus/$target" own="$fuzz_dir/corpus/$target"
  local found="$fuzz_dir/findings/$target" dict="$repo/tests/fuzz/dict/$target.dict"
  local -a folders=("$own")
  mkdir -p "$own" "$found" "$log_dir"
  if [ -d "$seeds" ]; then folders+=("$seeds"); fi
  if [ "$target" = plan ]; then folders+=("$repo/tests/fuzz/bases"); fi
  if ! "$fuzz_dir/tests/fuzz_$target" -dict="$dict" -artifact_prefix="$found/" -max_total_time="$seconds" -timeout=20 \
       -rss_limit_mb=2048 -print_final_stats=1 -verbosity=1 "${folders[@]}" >"$log" 2>&1; then
    grep -aE 'ERROR|SUMMARY|broken promise|runtime error|Test unit' "$log" >&2 || tail -n 20 "$log" >&2
    warn "$target: FOUND something, see $log"
    return 1
  fi
  # "#1234 DONE cov: 56 ft: 78 corp: 9/10Kb ..."
  local last
  last=$(grep -aE '^#[0-9]+[[:space:]]+DONE ' "$log")
  printf '%-10s %s runs in %s s, coverage %s edges, corpus %s inputs\n' "$target" \
    "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")" "$seconds" \
    "$(sed -E 's/.* cov: ([0-9]+) .*/\1/' <<<"$last")" "$(sed -E 's/.* corp: ([0-9]+)\/.*/\1/' <<<"$last")"
}

load_environment
if [ "$one" = 1 ]; then
  fuzz "${targets[0]}"
  exit
fi
command -v clang++ >/dev/null ||
  die 'clang++ is missing: apt-get install clang. Without it, ctest -R fuzz_replay runs the committed corpora'
run_logged fuzz-configure cmake -S "$repo" --preset fuzz
run_logged fuzz-build ninja -C "$fuzz_dir" "${targets[@]/#/fuzz_}"
if [ "$build_only" = 1 ]; then exit 0; fi
say "engine: libFuzzer of $(clang++ --version | head -n 1), with AddressSanitizer and UBSan"

# One a core; each runs as long whatever is beside it.
printf '%s\0' "${targets[@]}" |
  xargs -0 -n 1 -P "$(build_jobs)" "${BASH_SOURCE[0]}" --seconds "$seconds" --one || exit 1

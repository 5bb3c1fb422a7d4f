#!/usr/bin/env bash
# The device side's tests once more, with counters of lines and under the address and undefined-behaviour sanitizers
# (preset `coverage`, build-coverage/): fails when a test does, or when less than 95 % of the lines of the executor or of
# the schema were run. The report names the lines that were not.
# usage: tools/coverage.sh
# Without cuda_backend.cpp: these tests have no driver to run it on.
# The plans that the tests run are those of build/: it must be built (tools/test.sh).
set -euo pipefail
# shellcheck source=tools/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

build_coverage="$repo/build-coverage"
tests=(plan_view_test host_ops_test thread_pool_test cuda_driver_test platform_test tokenizer_test executor_test)

keep_plans() {
  local test
  for test in executor_test plan_view_test; do
    [ -x "$build_dir/tests/$test" ] || die "build/tests/$test is missing: run tools/test.sh, or ninja -C build"
    JLLM_TEST_PLANS="$build_dir/test-plans" "$build_dir/tests/$test" --gtest_brief=1 >/dev/null
  done
}

run_tests() {
  local test status=0
  find "$build_coverage" -name '*.gcda' -delete
  export JLLM_TEST_PLANS="$build_dir/test-plans"
  # Two at a time: their counters are merged under a lock.
  printf '%s\n' "${tests[@]}" |
    xargs -I {} -P 2 sh -c '"$1/tests/$2" --gtest_brief=1' run "$build_coverage" {} || status=1
  [ "$status" = 0 ] || die 'a test failed (above)'
}

main() {
  local llvm_dir
  case "${1:-}" in -h | --help) sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;; esac
  load_environment
  if [ ! -f "$build_coverage/build.ninja" ]; then
    llvm_dir=$(find_llvm_dir)
    (cd "$repo" && run_logged configure-coverage cmake --preset coverage "-DJLLM_WERROR=${JLLM_WERROR:-OFF}" \
      ${llvm_dir:+"-DLLVM_DIR=$llvm_dir"})
  fi
  run_logged build-coverage ninja -C "$build_coverage" -j "$(build_jobs)" "${tests[@]}"
  keep_plans
  run_tests
  "$repo/tools/coverage.py" --source "$repo" --build "$build_coverage" --missed \
    --without executor/src/cuda/cuda_backend.cpp --at-least schema=95 --at-least executor=95
}

main "$@"

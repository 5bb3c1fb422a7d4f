#!/usr/bin/env bash
# Sets up, builds everything and runs every test; the last line is "N passed, N failed, N skipped".
# usage: tools/test.sh [CTEST OPTION...]      e.g. tools/test.sh -R gguf
# JLLM_FUZZ_SECONDS=N also fuzzes for N seconds a target, where clang is (docs/fuzzing.md).
# JLLM_LONG_TESTS=ON, in a fresh build folder, takes all cases of the longest tests (CONTRIBUTING.md).
# JLLM_TEST_DATA names a folder with more models and vectors; tests that need it are skipped without.
set -euo pipefail
# shellcheck source=tools/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

started=$(now_ms)
results="$build_dir/test-results.xml"

say 'set-up'
# What only the gates need may fail to install: their tests are skipped then.
"$repo/tools/setup.sh" --gates || "$repo/tools/setup.sh"
load_environment
# Without NVRTC the tests that compile kernels are skipped, without cuda.h the one of the driver's declarations;
# the summary says so.
"$repo/tools/get_nvrtc.sh" --major 12 >/dev/null || true
"$repo/tools/get_cuda_header.sh" >/dev/null || true
"$repo/tools/cross_aarch64.sh" --sysroot || true
# OpenAI's client, which `jllm serve` is tested with, for the tests alone; without it that test is skipped.
if [ ! -d "$deps/openai/openai" ] && find_pip; then
  run_logged openai-pip "${pip[@]}" install --target "$deps/openai" --only-binary :all: --retries 1 --timeout 30 \
    --disable-pip-version-check 'openai>=1,<4' || true
fi
# A browser for the page of `jllm serve` (124 MB, a minute); without one that test is skipped.
if ! command -v chromium >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  run_logged chromium-apt env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 install -y \
    --no-install-recommends chromium || true
fi

say 'build'
build all || die 'the build failed; nothing was tested'
say "      done in $(seconds_since "$started")"

say 'test'
rm -f "$results"
status=0
ctest --test-dir "$build_dir" --output-on-failure -j2 --output-junit "$results" "$@" </dev/null || status=$?
if [ -n "${JLLM_FUZZ_SECONDS:-}" ] && command -v clang++ >/dev/null; then
  say "fuzz: $JLLM_FUZZ_SECONDS s each"
  "$repo/tools/fuzz.sh" --seconds "$JLLM_FUZZ_SECONDS" || status=1
fi
say ''
# ctest's own status is not enough: it is 0 when there was no test at all.
python3 "$repo/tools/ctest_summary.py" "$results" || status=1
exit "$status"

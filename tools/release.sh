#!/usr/bin/env bash
# Builds what is released: stripped programs, their bills of materials, and their SHA-256. Equal sources and tools give
# equal bytes, whatever the folder, the user and the day.
# usage: tools/release.sh [--device] [-o FOLDER]
#   --device   jllm alone, as on the device (no LLVM)
#   -o FOLDER  where the files go (default: release/)
# Run tools/setup.sh first. JLLM_RELEASE_OPTIMISE: other flags than -O3 -DNDEBUG (tests).
set -euo pipefail
# shellcheck source=tools/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

device=0
out="$repo/release"
while [ $# -gt 0 ]; do
  case "$1" in
    --device) device=1 ;;
    -o)
      [ $# -ge 2 ] || die '-o needs a folder'
      out=$2
      shift
      ;;
    *) die "unknown option $1 (usage: tools/release.sh [--device] [-o FOLDER])" ;;
  esac
  shift
done

case "$repo" in *[[:space:]]*) die "compiler flags name this folder, so it must have no space in its name: $repo" ;; esac
load_environment
work="$repo/build-release"
programs=(jllm)
options=(-DJLLM_BUILD_TESTS=OFF -DJLLM_BUILD_COMPILER=OFF)
if [ "$device" = 0 ]; then
  programs+=(jllmc)
  # Found by --nvrtc, JLLM_NVRTC and the usual places: no folder of this machine is built in.
  options=(-DJLLM_BUILD_TESTS=OFF -DJLLM_NVRTC_DIR=/usr/lib/jllm/nvrtc)
fi
# No paths of this machine in messages and debug information. Nothing of the build asks for the time; should a tool do
# so, it gets a fixed one.
flags="-ffile-prefix-map=$work=build -ffile-prefix-map=$repo=."
optimise=${JLLM_RELEASE_OPTIMISE:--O3 -DNDEBUG}
export SOURCE_DATE_EPOCH=0 CCACHE_DISABLE=1 LC_ALL=C TZ=UTC

rm -rf "$work"
run_logged release-configure cmake -S "$repo" -B "$work" -G Ninja -DCMAKE_BUILD_TYPE=Release -DJLLM_WERROR=OFF \
  -DCMAKE_C_FLAGS_RELEASE="$optimise" -DCMAKE_CXX_FLAGS_RELEASE="$optimise" \
  -DCMAKE_C_FLAGS="$flags" -DCMAKE_CXX_FLAGS="$flags" -DCMAKE_EXE_LINKER_FLAGS=-Wl,--build-id=sha1 "${options[@]}" ||
  die 'cmake failed; tools/setup.sh --check says what is missing'
cmake --build "$work" --parallel "$(build_jobs)" --target "${programs[@]}" >/dev/null || die 'the build failed'

mkdir -p "$out"
for program in "${programs[@]}"; do
  strip -o "$out/$program" "$work/bin/$program"
  python3 "$repo/tools/make_sbom.py" "$work" "$program" --program "$out/$program" -o "$out/$program.cdx.json"
done
(cd "$out" && sha256sum "${programs[@]}" "${programs[@]/%/.cdx.json}" >SHA256SUMS && cat SHA256SUMS)

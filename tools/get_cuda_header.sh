#!/usr/bin/env bash
# Fetches cuda.h, against which a test holds our own declarations of the CUDA driver API. Only that test needs it.
# It comes from NVIDIA's wheel on PyPI (unpacked, not installed) and goes to .deps/cuda/include/. Nothing is fetched
# when a toolkit's header is here already.
# usage: tools/get_cuda_header.sh
# The header's path goes to stdout; it is NVIDIA's, under the licence text beside it.
set -euo pipefail
# shellcheck source=tools/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

requirement='nvidia-cuda-runtime-cu12>=12.6,<12.7'  # as the NVRTC of JetPack 6
dir="$deps/cuda/include"

case "${1:-}" in
  '') ;;
  -h | --help) sed -n '2,6s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
  *) warn "unknown option: $1 (see --help)"; exit 2 ;;
esac
for header in "$dir/cuda.h" /usr/local/cuda/include/cuda.h /usr/include/cuda.h; do
  if [ -f "$header" ]; then printf '%s\n' "$header"; exit 0; fi
done
declare -a pip
find_pip || { warn '      no pip here: the declarations of the CUDA driver stay unchecked'; exit 1; }
mkdir -p "$deps"
work=$(mktemp -d "$deps/cuda_header.XXXXXX")
trap 'rm -rf "$work"' EXIT
if ! run_logged cuda-header-pip "${pip[@]}" download --no-deps --only-binary :all: --retries 1 --timeout 30 \
    --disable-pip-version-check -d "$work" "$requirement"; then
  warn '      cuda.h could not be had: run tools/get_cuda_header.sh again where PyPI can be reached'
  exit 1
fi
mkdir -p "$dir"
python3 - "$work" "$dir" <<'PYTHON'
import glob, os, re, shutil, sys, zipfile
wheel = zipfile.ZipFile(glob.glob(sys.argv[1] + "/*.whl")[0])
for entry in wheel.namelist():
    name = os.path.basename(entry)
    if name == "cuda.h" or re.fullmatch(r"(?i)licen[cs]e(\.txt)?", name):
        with wheel.open(entry) as source, open(os.path.join(sys.argv[2], name), "wb") as out:
            shutil.copyfileobj(source, out)
PYTHON
warn "      fetched cuda.h into $dir"
printf '%s\n' "$dir/cuda.h"

#!/usr/bin/env bash
# Fetches NVRTC, NVIDIA's run-time compiler, with which jllmc compiles kernels: no GPU, driver or toolkit needed.
# It comes from NVIDIA's wheel on PyPI (unpacked, not installed) or from the distribution's non-free packages,
# and goes to .deps/nvrtc/MAJOR/, where jllmc looks for it. Nothing is fetched when a suitable one is here.
# usage: tools/get_nvrtc.sh [--major 11|12|13] [--dir DIR] [--check]
#   --major   12 suits JetPack 6 (default), 11 JetPack 5, 13 JetPack 7
#   --dir     where to put it (default .deps/nvrtc)
#   --check   only look; exit status 1 when there is none
# The path of the library goes to stdout; NVRTC is NVIDIA's, under the licence text beside it.
set -euo pipefail
# shellcheck source=tools/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

major=12
dir="$deps/nvrtc"
check_only=0

# A device refuses code from a newer CUDA than its driver's, so each major has a newest suitable minor:
# JetPack 5 is CUDA 11.4 (PyPI has nothing older than 11.7), JetPack 6.1 and 6.2 are 12.6, JetPack 7.0 is 13.0.
newest_minor() { case "$major" in 11) echo 8 ;; 12) echo 6 ;; 13) echo 0 ;; esac; }
wheel_requirement() {
  case "$major" in
    11) echo 'nvidia-cuda-nvrtc-cu11>=11.7,<11.9' ;;
    12) echo 'nvidia-cuda-nvrtc-cu12>=12.6,<12.7' ;;
    13) echo 'nvidia-cuda-nvrtc>=13.0,<13.1' ;;
  esac
}

# suitable LIBRARY: the builtins beside it tell the minor version (libnvrtc-builtins.so.12.6).
suitable() {
  local builtins minor
  [ -f "$1" ] || return 1
  for builtins in "$(dirname "$1")/libnvrtc-builtins.so.$major".*; do
    minor=${builtins##*.so."$major".}
    minor=${minor%%.*}
    if [[ "$minor" =~ ^[0-9]+$ ]] && [ "$minor" -le "$(newest_minor)" ]; then return 0; fi
  done
  return 1
}

find_nvrtc() {
  local folder lower
  if [ -n "${JLLM_NVRTC:-}" ]; then
    if [ ! -e "$JLLM_NVRTC" ]; then
      warn "JLLM_NVRTC names '$JLLM_NVRTC', which does not exist"
      return 1
    fi
    printf '%s\n' "$JLLM_NVRTC"
    return 0
  fi
  for folder in "$dir/$major" /usr/local/cuda*/lib64 /usr/local/cuda*/lib /usr/lib/*-linux-gnu; do
    if suitable "$folder/libnvrtc.so.$major"; then
      printf '%s\n' "$folder/libnvrtc.so.$major"
      return 0
    fi
  done
  # fetch_debian may have had to take an older one.
  for lower in $(seq $((major - 1)) -1 11); do
    folder=$(compgen -G "$dir/$lower/libnvrtc.so.$lower*" | sort | head -n 1)
    if [ -n "$folder" ] && [ "$major" = 12 ]; then printf '%s\n' "$folder"; return 0; fi
  done
  return 1
}

fetch_wheel() {
  local -a pip
  find_pip || { warn '      no pip here'; return 1; }
  run_logged nvrtc-pip "${pip[@]}" download --no-deps --only-binary :all: --retries 1 --timeout 30 \
    --disable-pip-version-check -d "$1" "$(wheel_requirement)" || return 1
  python3 - "$1" <<'PYTHON'
import glob, os, re, shutil, sys, zipfile
folder = sys.argv[1]
wheel = zipfile.ZipFile(glob.glob(folder + "/*.whl")[0])
for entry in wheel.namelist():
    name = os.path.basename(entry)
    if re.fullmatch(r"libnvrtc(-builtins)?\.so\.[0-9.]+", name) or re.fullmatch(r"(?i)licen[cs]e(\.txt)?", name):
        with wheel.open(entry) as source, open(os.path.join(folder, "new", name), "wb") as out:
            shutil.copyfileobj(source, out)
PYTHON
}

# Debian's non-free and Ubuntu's multiverse: libnvrtc11.2, libnvrtc12 and their builtins, where enabled.
# A major below the one asked for will do as well (a driver takes code from an older CUDA).
fetch_debian() {
  local -a names
  local name best=''
  command -v apt-cache >/dev/null && command -v dpkg-deb >/dev/null || return 1
  mapfile -t names < <(apt-cache search --names-only '^libnvrtc-builtins1[1-3]' | cut -d' ' -f1 | sort -V)
  for name in "${names[@]}"; do
    if version_at_least "$major.$(newest_minor)" "${name#libnvrtc-builtins}"; then best=$name; fi
  done
  if [ -z "$best" ]; then return 1; fi
  major=${best#libnvrtc-builtins}
  major=${major%%.*}
  name=$(apt-cache search --names-only "^libnvrtc$major(\\.[0-9]+)?\$" | cut -d' ' -f1 | head -n 1)
  (cd "$1" && run_logged nvrtc-apt apt-get download "$best" "$name" &&
   for package in ./*.deb; do dpkg-deb -x "$package" unpacked; done &&
   cp -P unpacked/usr/lib/*-linux-gnu/libnvrtc*.so.* new/ &&
   rm -f new/*.alt.* && cat unpacked/usr/share/doc/libnvrtc*/copyright >new/License.txt)
}

# Loads the library and asks for its version: a file for another processor or C library shows itself here.
report_version() {
  python3 - "$1" <<'PYTHON'
import ctypes, sys
nvrtc, major, minor = ctypes.CDLL(sys.argv[1]), ctypes.c_int(), ctypes.c_int()
assert nvrtc.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)) == 0
print(f"{major.value}.{minor.value}")
PYTHON
}

explain_absence() {
  warn "      NVRTC $major could not be had. Plans for the host work without; for a GPU target do one of these:"
  warn "        run tools/get_nvrtc.sh again where PyPI can be reached"
  warn "        copy libnvrtc.so.$major and libnvrtc-builtins.so.$major.* of any CUDA $major toolkit (up to" \
       "$major.$(newest_minor)) to $dir/$major/"
  warn "        or name one: jllmc compile --nvrtc PATH, or JLLM_NVRTC=PATH"
}

fetch() {
  local work version library
  mkdir -p "$dir"
  work=$(mktemp -d "$dir/fetch.XXXXXX")
  # shellcheck disable=SC2064  # the folder of now
  trap "rm -rf '$work'" EXIT
  mkdir "$work/new"
  if ! fetch_wheel "$work" && ! fetch_debian "$work"; then
    explain_absence
    return 1
  fi
  library=$(basename "$(compgen -G "$work/new/libnvrtc.so.*" | sort | head -n 1)")
  if ! version=$(report_version "$work/new/$library" 2>&1); then
    warn "      the fetched NVRTC does not load here: ${version##*$'\n'}"
    explain_absence
    return 1
  fi
  ln -s "$library" "$work/new/libnvrtc.so"
  rm -rf "${dir:?}/$major"
  mv "$work/new" "$dir/$major"
  warn "      fetched NVRTC $version into $dir/$major"
  printf '%s\n' "$dir/$major/$library"
}

main() {
  while [ $# -gt 0 ]; do
    case "$1" in
      --major) major=${2:?--major needs a number}; shift ;;
      --dir) dir=${2:?--dir needs a folder}; shift ;;
      --check) check_only=1 ;;
      -h | --help) sed -n '2,10s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
      *) warn "unknown option: $1 (see --help)"; exit 2 ;;
    esac
    shift
  done
  if [ -z "$(newest_minor)" ]; then warn "--major $major: 11, 12 or 13"; exit 2; fi
  if find_nvrtc; then return 0; fi
  if [ "$check_only" = 1 ]; then return 1; fi
  fetch
}

main "$@"

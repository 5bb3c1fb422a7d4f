# shellcheck shell=bash
# What setup.sh, get_nvrtc.sh, quickstart.sh and test.sh share: where things lie, how they speak to the user,
# and how they configure and build. Sourced, never run.

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
deps="${JLLM_DEPS:-$repo/.deps}"
log_dir="$deps/logs"
build_dir="$repo/build"

say() { printf '%s\n' "$*"; }
warn() { printf '%s\n' "$*" >&2; }
die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# Seconds with one decimal since the script began, without a process per call (EPOCHREALTIME: bash >= 5).
now_ms() { local t=${EPOCHREALTIME/[.,]/}; printf '%s' "${t:0:${#t}-3}"; }
seconds_since() {
  local ms=$(($(now_ms) - $1))
  printf '%d.%d s' $((ms / 1000)) $((ms % 1000 / 100))
}

# version_at_least HAVE WANT: dotted numbers.
version_at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

# run_logged NAME COMMAND...: all output goes to .deps/logs/NAME.log; on failure the end of it is shown.
run_logged() {
  local log="$log_dir/$1.log"
  shift
  mkdir -p "$log_dir"
  if "$@" >"$log" 2>&1 </dev/null; then return 0; fi
  warn "failed: $*"
  tail -n 12 "$log" | cut -c 1-220 | sed 's/^/  | /' >&2
  warn "full log: $log"
  return 1
}

download() {
  if command -v curl >/dev/null; then
    curl -fsSL --retry 3 --connect-timeout 20 -o "$2" "$1"
  elif command -v wget >/dev/null; then
    wget -q -t 3 -T 20 -O "$2" "$1"
  else
    python3 -c 'import shutil, sys, urllib.request as u
with u.urlopen(sys.argv[1], timeout=20) as source, open(sys.argv[2], "wb") as out: shutil.copyfileobj(source, out)' "$@"
  fi
}

# A release leaves the first mirror for the second some day; checksums hold for both.
debian_mirrors=("${JLLM_DEBIAN_MIRROR:-http://deb.debian.org/debian}" http://archive.debian.org/debian)

# fetch_from_debian SHA256 PATH FILE: a file of Debian's archive.
fetch_from_debian() {
  local sum=$1 path=$2 to=$3 mirror
  for mirror in "${debian_mirrors[@]}"; do
    if download "$mirror/$path" "$to" && echo "$sum  $to" | sha256sum -c --status; then return 0; fi
  done
  die "none of ${debian_mirrors[*]} gives $path with the checksum that it should have. \
JLLM_DEBIAN_MIRROR names another mirror of Debian"
}

# Tools and libraries that setup.sh unpacked for a user without root rights come in by this file.
load_environment() {
  # shellcheck disable=SC1091
  if [ -f "$deps/env.sh" ]; then . "$deps/env.sh"; fi
}

# The folder of LLVMConfig.cmake: the newest LLVM (>= 14) that has the static Support library.
find_llvm_dir() {
  local prefix config dir root best='' best_version=0 version
  local -a prefixes=("$deps/root/usr" /usr /usr/local)
  # An unpacked compiler sees nothing but .deps/root.
  if [ -x "$deps/bin/g++" ]; then prefixes=("$deps/root/usr"); fi
  for prefix in "${prefixes[@]}"; do
    for config in "$prefix"/lib/llvm-*/lib/cmake/llvm/LLVMConfig.cmake \
                  "$prefix"/lib/cmake/llvm/LLVMConfig.cmake; do
      [ -f "$config" ] || continue
      dir=$(dirname "$config")
      root=${dir%/lib/cmake/llvm}
      [ -f "$root/lib/libLLVMSupport.a" ] || continue
      version=$(sed -n 's/^set(LLVM_VERSION_MAJOR \([0-9]*\)).*/\1/p' "$config")
      if [ "${version:-0}" -ge 14 ] && [ "$version" -gt "$best_version" ]; then
        best=$dir
        best_version=$version
      fi
    done
  done
  printf '%s' "$best"
}

# shellcheck disable=SC2034  # pip is for the caller
# Sets pip to the words that run pip: the module, or the wheel of python3-pip-whl, which runs as it lies.
find_pip() {
  local wheel
  pip=()
  if ! command -v python3 >/dev/null; then return 1; fi
  if python3 -c 'import importlib.util as u, sys; sys.exit(u.find_spec("pip") is None)' 2>/dev/null; then
    pip=(python3 -m pip)
    return 0
  fi
  for wheel in /usr/share/python-wheels/pip-*.whl "$deps"/root/usr/share/python-wheels/pip-*.whl; do
    if [ -f "$wheel" ]; then
      pip=(python3 "$wheel/pip")
      return 0
    fi
  done
  return 1
}

# One job per core, fewer where memory is short: a file that includes LLVM takes up to 0.7 GB to compile.
build_jobs() {
  local cores by_memory
  cores=$(nproc)
  by_memory=$(awk '/^MemAvailable/ {print int($2 / 700000)}' /proc/meminfo)
  if [ "${by_memory:-$cores}" -lt "$cores" ]; then cores=$by_memory; fi
  printf '%s' $((cores > 0 ? cores : 1))
}

# Turns ninja's "[12/340] ..." lines into one line that counts up on a terminal, or into a line per quarter.
show_progress() {
  local tty=0
  if [ -t 1 ]; then tty=1; fi
  awk -v tty="$tty" '
    match($0, /^\[[0-9]+\/[0-9]+\]/) {
      split(substr($0, 2, RLENGTH - 2), n, "/")
      if (tty) { printf "\r      %d of %d", n[1], n[2]; shown = 1; fflush() }
      else if (n[2] >= 20 && int(4 * n[1] / n[2]) > quarter) {
        quarter = int(4 * n[1] / n[2]); printf "      %d of %d\n", n[1], n[2]; fflush()
      }
    }
    END { if (shown) printf "\r\033[K" }'
}

# Configures build/ with the preset `release` when that has not been done, or was done for another folder.
# Warnings stop the build only where they are asked to (JLLM_WERROR=ON, as .ci/run does): a compiler newer than
# ours may know new ones.
configure() {
  local cache="$build_dir/CMakeCache.txt" llvm_dir
  if [ -f "$cache" ] && ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$repo" "$cache"; then
    rm -rf "$cache" "$build_dir/CMakeFiles"
  fi
  # The stamp says that configuring once went through; from there on ninja does it again when it must.
  if [ -f "$build_dir/.configured" ] && [ -f "$build_dir/build.ninja" ] && [ -f "$cache" ]; then
    return 0
  fi
  llvm_dir=$(find_llvm_dir)
  (cd "$repo" && run_logged configure cmake --preset release "-DJLLM_WERROR=${JLLM_WERROR:-OFF}" \
    "-DJLLM_LONG_TESTS=${JLLM_LONG_TESTS:-OFF}" ${llvm_dir:+"-DLLVM_DIR=$llvm_dir"}) ||
    return 1
  touch "$build_dir/.configured"
}

# build [TARGET...]: ninja in build/, quietly; everything goes to .deps/logs/build.log.
build() {
  local log="$log_dir/build.log" status=0
  mkdir -p "$log_dir"
  configure || return 1
  NINJA_STATUS='[%f/%t] ' ninja -C "$build_dir" -j "$(build_jobs)" "$@" 2>&1 </dev/null |
    tee "$log" | show_progress || status=1
  if [ "$status" != 0 ]; then
    warn 'the build failed; the first errors are:'
    grep -m 15 -E 'error|FAILED|undefined reference|ninja: (error|build)' "$log" | sed 's/^/  | /' >&2 || true
    warn "full log: $log"
  fi
  return "$status"
}

#!/usr/bin/env bash
# Cross-compiles the device side (jllm, its libraries and their tests) for aarch64 on an x86-64 workstation, against
# Debian 11's glibc 2.31: the result runs on JetPack 5, 6 and 7. build-aarch64/bin/jllm is what goes to the device.
# usage: tools/cross_aarch64.sh [--check | --sysroot | NINJA ARGUMENT...]
#   --check    say what is missing, change nothing; exit status 1 when something is
#   --sysroot  only fetch glibc, PCRE2, libsodium and GoogleTest for aarch64 into .deps/sysroot-aarch64
# Needs g++-aarch64-linux-gnu beside what tools/setup.sh installs, and qemu-user to run the tests.
set -euo pipefail
# shellcheck source=tools/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

sysroot="$deps/sysroot-aarch64"
list="$repo/cmake/aarch64-sysroot.sha256"
floor="$repo/cmake/aarch64-glibc-floor.c"
build_aarch64="$repo/build-aarch64"

# What decides what the sysroot holds; a change of it makes a new one.
identity() { cat "$list" "$floor" "${BASH_SOURCE[0]}" | sha256sum | cut -c 1-64; }
have_sysroot() { [ "$(cat "$sysroot/complete" 2>/dev/null)" = "$(identity)" ]; }

find_missing() {
  missing=()
  if ! command -v aarch64-linux-gnu-g++ >/dev/null; then
    missing+=(g++-aarch64-linux-gnu)
  elif ! [[ "$(aarch64-linux-gnu-g++ -dumpversion)" =~ ^1[12] ]]; then
    missing+=("g++-aarch64-linux-gnu 11 or 12 (what libstdc++ 13 asks of glibc is not provided for)")
  fi
  command -v dpkg-deb >/dev/null || missing+=(dpkg)
  command -v curl >/dev/null || command -v wget >/dev/null || missing+=(curl)
}

# A header-only library is the workstation's own: it must fit the flatc that the workstation runs.
link_headers() {
  local name=$1 prefix
  for prefix in "$deps/root/usr" /usr /usr/local; do
    if [ -d "$prefix/include/$name" ]; then
      ln -sfn "$prefix/include/$name" "$new/usr/include/$name"
      return 0
    fi
  done
  die "$name is missing: run tools/setup.sh"
}

make_sysroot() {
  local sum path package link target
  new="$deps/sysroot-aarch64.$$"
  trap 'rm -rf "$new"' EXIT
  mkdir -p "$new/usr/lib" "$new/packages"
  ln -s usr/lib "$new/lib"
  while read -r sum path; do
    case "$sum" in '' | '#'*) continue ;; esac
    package="$new/packages/${path##*/}"
    fetch_from_debian "$sum" "$path" "$package"
    dpkg-deb --fsys-tarfile "$package" | tar -x -C "$new" --keep-directory-symlink --no-same-owner \
      --exclude='./usr/share' --exclude='./usr/bin' --exclude='./etc'
  done <"$list"
  # Links that were made for / lead into the sysroot.
  while IFS= read -r link; do
    target=$(readlink "$link")
    ln -sfn "$(realpath -m --relative-to="$(dirname "$link")" "$new$target")" "$link"
  done < <(find "$new" -type l -lname '/*')
  # Of GCC 10 only the unwinder: that of GCC 12 asks for glibc 2.35.
  mv "$new"/usr/lib/gcc/aarch64-linux-gnu/10/libgcc_eh.a "$new/usr/lib/aarch64-linux-gnu"
  rm -rf "$new/usr/lib/gcc"
  link_headers flatbuffers
  link_headers nlohmann
  aarch64-linux-gnu-gcc -nostdinc -isystem "$(aarch64-linux-gnu-gcc -print-file-name=include)" \
    -isystem "$new/usr/include/aarch64-linux-gnu" -isystem "$new/usr/include" \
    -O2 -fPIC -Wall -Wextra -c "$floor" -o "$new/usr/lib/glibc-floor.o"
  rm -rf "$new/packages"
  identity >"$new/complete"
  rm -rf "$sysroot"
  mv "$new" "$sysroot"
  trap - EXIT
}

build_device_side() {
  if [ ! -f "$build_aarch64/build.ninja" ]; then
    (cd "$repo" && run_logged configure-aarch64 cmake --preset device-aarch64 "-DJLLM_WERROR=${JLLM_WERROR:-OFF}") ||
      return 1
  fi
  ninja -C "$build_aarch64" -j "$(build_jobs)" "$@"
}

main() {
  local check=0 only_sysroot=0
  case "${1:-}" in
    --check) check=1 ;;
    --sysroot) only_sysroot=1 ;;
    -h | --help) sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
  esac
  load_environment
  find_missing
  if [ "$check" = 1 ] && ! have_sysroot; then missing+=(".deps/sysroot-aarch64 (tools/cross_aarch64.sh fetches it)"); fi
  if [ "${#missing[@]}" != 0 ]; then
    warn "missing for aarch64: ${missing[*]}"
    exit 1
  fi
  if [ "$check" = 1 ]; then exit 0; fi
  if ! have_sysroot; then
    say "      fetching glibc 2.31 for aarch64 into .deps/sysroot-aarch64"
    make_sysroot
  fi
  if [ "$only_sysroot" = 1 ]; then exit 0; fi
  build_device_side "$@"
}

main "$@"

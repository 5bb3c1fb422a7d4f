#!/usr/bin/env bash
# Finds what building jllm needs and installs what is missing, on Debian 12 and Ubuntu 22.04 / 24.04.
#   as root or with sudo   apt-get, only the missing packages
#   otherwise              the same packages, unpacked into .deps/root (no rights needed, nothing outside changes)
# usage: tools/setup.sh [--device] [--gates] [--check]
#   --device   only what the executor needs (no LLVM, NVRTC or tests): for building on the Jetson itself
#   --gates    also what only the project's own gates need: the cross compiler for aarch64, qemu-user, clang, clang-tidy, shellcheck
#   --check    say what is missing, install nothing; exit status 1 when something is
# JLLM_NO_SUDO=1 makes it leave sudo alone.
set -euo pipefail
# shellcheck source=tools/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

root="$deps/root"
device_only=0
gates=0
check_only=0
missing=()
# Set when even the compiler is unpacked: then every library must lie beside it, in its sysroot.
sysroot=0
if [ -x "$deps/bin/g++" ]; then sysroot=1; fi

# ---- what is here -------------------------------------------------------------------------------------------

search_prefixes() {
  local -a given=()
  if [ "$sysroot" = 1 ]; then
    prefixes=("$root/usr")
    return
  fi
  IFS=: read -r -a given <<<"${CMAKE_PREFIX_PATH:-}"
  prefixes=("${given[@]}" /usr /usr/local "$root/usr")
}

have_header() {
  local prefix
  for prefix in "${prefixes[@]}"; do
    if compgen -G "$prefix/include/$1" >/dev/null ||
       compgen -G "$prefix/include/*-linux-gnu/$1" >/dev/null; then return 0; fi
  done
  return 1
}

need_header() { have_header "$1" || missing+=("$2"); }
need_command() { command -v "$1" >/dev/null || missing+=("$2"); }

need_compiler() {
  local version
  if [ -n "${CXX:-}" ] && [ "$sysroot" = 0 ]; then
    command -v "${CXX%% *}" >/dev/null || die "CXX is set to '$CXX', which cannot be found"
    return
  fi
  if ! command -v g++ >/dev/null; then
    missing+=(g++)
    return
  fi
  version=$(g++ -dumpfullversion)
  version_at_least "$version" 11 || die "g++ $version is too old: 11 is needed. \
Install a newer one (Debian 12 and Ubuntu 22.04 bring one) and name it: CC=gcc-11 CXX=g++-11 $0"
}

need_cmake() {
  if ! command -v cmake >/dev/null ||
     ! version_at_least "$(cmake --version | sed -n '1s/.* //p')" 3.22; then missing+=(cmake); fi
}

# What LLVMConfig.cmake asks for beyond the dependencies of llvm-dev: zlib always, zstd from LLVM 15 on (the
# package leaves both out, and cmake then stops at "target ZLIB::ZLIB / zstd::libzstd_shared not found").
need_llvm() {
  local dir
  dir=$(find_llvm_dir)
  need_header zlib.h zlib1g-dev
  if [ -z "$dir" ]; then
    missing+=(llvm-dev)
  elif grep -qE '^set\(LLVM_ENABLE_ZSTD (1|ON|TRUE|FORCE_ON)\)' "$dir/LLVMConfig.cmake"; then
    need_header zstd.h libzstd-dev
  fi
}

# pip's wheel file serves as pip: get_nvrtc.sh needs one to fetch NVRTC, unless NVRTC is here already.
need_pip() {
  # shellcheck disable=SC2034  # set by find_pip
  local -a pip
  if "$repo/tools/get_nvrtc.sh" --check >/dev/null 2>&1 || find_pip; then return; fi
  missing+=(python3-pip-whl)
}

# jllmc reads chat templates with the engine that they were written for. A python3 that is not the distribution's does not
# see its packages: whoever brings one brings jinja2 too, or jllmc takes a built-in format and says so.
need_jinja() {
  case "$(command -v python3 || true)" in
    '' | /usr/bin/python3 | /bin/python3 | "$deps/bin/python3") ;;
    *) return ;;
  esac
  python3 -c 'import jinja2' 2>/dev/null || missing+=(python3-jinja2)
}

find_missing() {
  missing=()
  search_prefixes
  need_compiler
  need_cmake
  need_command ninja ninja-build
  need_command python3 python3
  need_command flatc flatbuffers-compiler
  need_header flatbuffers/flatbuffers.h libflatbuffers-dev
  need_header pcre2.h libpcre2-dev
  need_header nlohmann/json.hpp nlohmann-json3-dev
  need_header sodium.h libsodium-dev
  if [ "$device_only" = 0 ]; then
    need_header gtest/gtest.h libgtest-dev
    need_header gmock/gmock.h libgmock-dev
    need_llvm
    need_pip
    need_jinja
  fi
  if [ "$gates" = 1 ]; then
    need_command aarch64-linux-gnu-g++ g++-aarch64-linux-gnu
    need_command qemu-aarch64 qemu-user
    need_command clang-tidy clang-tidy
    need_command clang++ clang
    need_command shellcheck shellcheck
  fi
}

# ---- with root's rights -------------------------------------------------------------------------------------

# Sets as_root to the words that run a command as root; fails when there is no way to.
find_root() {
  as_root=()
  if [ "$(id -u)" = 0 ]; then return 0; fi
  if [ -n "${JLLM_NO_SUDO:-}" ] || ! command -v sudo >/dev/null; then return 1; fi
  as_root=(sudo)
  if sudo -n true 2>/dev/null; then return 0; fi
  # Only members of these groups are asked: for everyone else sudo would mail the administrator.
  if [ ! -t 0 ] || ! id -nG | grep -qwE 'sudo|admin|wheel'; then return 1; fi
  say "      sudo may ask for your password (JLLM_NO_SUDO=1: go on without root's rights)"
  sudo -v
}

apt_as_root() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 \
    -o APT::Update::Error-Mode=any "$@"
}

install_with_apt() {
  say "      apt-get install: ${missing[*]}"
  # A third party's broken source makes update fail while the distribution's lists are fine: go on and see.
  run_logged apt-update apt_as_root update || warn '      apt-get update reported errors (above); going on'
  run_logged apt-install apt_as_root install -y --no-install-recommends "${missing[@]}" ||
    die "apt-get could not install the packages (above). $(administrator_line)"
  # shellcheck disable=SC2016  # dpkg-query's own variables
  dpkg-query -W -f '      installed ${Package} ${Version}\n' "${missing[@]}"
}

# ---- without root's rights ----------------------------------------------------------------------------------

# apt with its own lists and cache under .deps/apt: it needs no rights and sees the system's sources and keys.
apt_private() {
  apt-get -q -o Dir::State::lists="$deps/apt/lists" -o Dir::Cache="$deps/apt/cache" \
    -o Dir::State::status="$1" -o Debug::NoLocking=1 \
    -o APT::Update::Error-Mode=any "${@:2}"
}

# Downloads the missing packages with their dependencies; without a compiler on this machine with all of
# them, installed or not, for the compiler is then given .deps/root as its whole world (--sysroot).
download_packages() {
  local status=/var/lib/dpkg/status
  mkdir -p "$deps/apt/lists/partial" "$deps/apt/cache/archives/partial"
  : >"$deps/apt/nothing-installed"
  if [ "$sysroot" = 1 ]; then status="$deps/apt/nothing-installed"; fi
  run_logged apt-update apt_private "$status" update || warn '      apt-get update reported errors (above); going on'
  run_logged apt-download apt_private "$status" install -y --no-install-recommends --download-only \
    "${missing[@]}"
}

# tar and not dpkg -x, because /lib and /bin here are links into /usr, as on the real system, and must stay links.
unpack_packages() {
  local package count=0
  mkdir -p "$root/usr/bin" "$root/usr/sbin" "$root/usr/lib" "$root/usr/lib64"
  for package in bin sbin lib lib64; do
    [ -e "$root/$package" ] || ln -s "usr/$package" "$root/$package"
  done
  for package in "$deps"/apt/cache/archives/*.deb; do
    dpkg-deb --fsys-tarfile "$package" |
      tar -x -C "$root" --keep-directory-symlink --no-same-owner --exclude='./usr/share/doc' \
          --exclude='./usr/share/man' --exclude='./usr/share/locale' --exclude='./dev'
    count=$((count + 1))
  done
  say "      unpacked $count packages into .deps/root"
}

# The packages were made for /; their absolute links and the absolute paths in their cmake and pkg-config
# files must lead into .deps/root.
relocate_packages() {
  local link target file
  while IFS= read -r link; do
    target=$(readlink "$link")
    if [ -e "$root$target" ]; then ln -sfn "$root$target" "$link"; fi
  done < <(find "$root" -type l -lname '/*' ! -lname "$root/*")
  while IFS= read -r file; do
    sed -i -E "s#(^|[\";=( ])/usr/(lib|include|bin|share)/#\1$root/usr/\2/#g; s#^prefix=/usr\$#prefix=$root/usr#" \
      "$file"
  done < <(grep -rlE --include='*.cmake' --include='*.pc' '(^|[";=( ])/usr(/|$)' "$root/usr/lib" \
             "$root/usr/share/pkgconfig" 2>/dev/null)
}

# .deps/bin and .deps/lib: links to what the system itself lacks, and only to that. Putting all of .deps/root
# on the search paths would run the system's programs against a second libc.
link_programs() {
  local file name
  mkdir -p "$deps/bin" "$deps/lib"
  for file in "$root"/usr/bin/*; do
    name=${file##*/}
    if [ -e "$deps/bin/$name" ]; then continue; fi
    if [[ " cmake ctest " == *" $name "* ]] || ! command -v "$name" >/dev/null; then
      ln -sfn "$file" "$deps/bin/$name"
    fi
  done
  for file in "$root"/usr/lib/*-linux-gnu/*.so.* "$root"/usr/lib/*-linux-gnu/*.so; do
    name=${file##*/}
    # A link named .so serves the linker; a file named so is a library that is loaded (binutils' libbfd-*.so).
    if [[ "$name" == *.so ]] && [ -L "$file" ]; then continue; fi
    if ! compgen -G "/lib/*-linux-gnu/$name" >/dev/null &&
       ! compgen -G "/usr/lib/*-linux-gnu/$name" >/dev/null; then ln -sfn "$file" "$deps/lib/$name"; fi
  done
}

write_compiler_wrappers() {
  local name
  for name in gcc g++; do
    rm -f "$deps/bin/$name"
    cat >"$deps/bin/$name" <<WRAPPER
#!/bin/sh
# Written by tools/setup.sh: the unpacked compiler, with .deps/root as the system that it compiles for.
LD_LIBRARY_PATH="$deps/lib\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}" \\
  exec "$root/usr/bin/$name" --sysroot="$root" -B"$root/usr/bin/" "\$@"
WRAPPER
    chmod +x "$deps/bin/$name"
  done
}

write_environment() {
  cat >"$deps/env.sh" <<ENV
# Written by tools/setup.sh, read by the scripts in tools/; by hand: . .deps/env.sh
export PATH="$deps/bin:\$PATH"
export LD_LIBRARY_PATH="$deps/lib\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}"
export CMAKE_PREFIX_PATH="$root/usr\${CMAKE_PREFIX_PATH:+:\$CMAKE_PREFIX_PATH}"
export PYTHONPATH="$root/usr/lib/python3/dist-packages\${PYTHONPATH:+:\$PYTHONPATH}"
export PKG_CONFIG_PATH="$(echo "$root"/usr/lib/*-linux-gnu/pkgconfig):$root/usr/share/pkgconfig\${PKG_CONFIG_PATH:+:\$PKG_CONFIG_PATH}"
# Programs find libraries that only .deps has, and do not ask for those that they never call (LLVM lists Z3).
export LDFLAGS="-Wl,--as-needed -Wl,-rpath,'$deps/lib' \${LDFLAGS:-}"
ENV
  if [ "$sysroot" = 1 ]; then
    printf 'export CC="%s" CXX="%s"\n' "$deps/bin/gcc" "$deps/bin/g++" >>"$deps/env.sh"
  fi
}

install_unprivileged() {
  if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
    die "$(administrator_line)"
  fi
  say "      no root's rights: unpacking into .deps/root: ${missing[*]}"
  download_packages || die "the packages could not be downloaded (above). $(administrator_line)"
  # An interrupted unpacking would look complete to the next run; this mark says that it is not.
  touch "$deps/unpacking"
  unpack_packages
  relocate_packages
  link_programs
  if [ "$sysroot" = 1 ]; then write_compiler_wrappers; fi
  write_environment
  rm -rf "$deps/unpacking" "$deps/apt"
  load_environment
  hash -r
}

# ---- both ---------------------------------------------------------------------------------------------------

administrator_line() {
  printf 'As root, this installs what is missing:\n  apt-get update && apt-get install -y --no-install-recommends %s' \
    "${missing[*]}"
  if grep -qs '^ID=ubuntu' /etc/os-release; then
    printf '\n(on Ubuntu these are in "main" and "universe": add-apt-repository universe)'
  fi
}

install_missing() {
  if find_root && command -v apt-get >/dev/null; then
    install_with_apt
    return
  fi
  if [[ " ${missing[*]} " == *' g++ '* ]] && [ "$sysroot" = 0 ]; then
    # Nothing on this machine can be compiled with: libraries that are installed do not help either.
    sysroot=1
    find_missing
  fi
  install_unprivileged
}

main() {
  local arg start round
  start=$(now_ms)
  for arg in "$@"; do
    case "$arg" in
      --device) device_only=1 ;;
      --gates) gates=1 ;;
      --check) check_only=1 ;;
      -h | --help) sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
      *) warn "unknown option: $arg (see --help)"; exit 2 ;;
    esac
  done
  if [ -e "$deps/unpacking" ]; then
    rm -rf "$root" "${deps:?}"/{bin,lib,env.sh,unpacking}
    sysroot=0
  fi
  load_environment
  # Twice, because only an installed LLVM says what else it asks for.
  for round in 1 2 3; do
    find_missing
    if [ "${#missing[@]}" = 0 ]; then break; fi
    if [ "$check_only" = 1 ]; then say "missing: ${missing[*]}"; exit 1; fi
    if [ "$round" = 3 ]; then die "still missing after installing: ${missing[*]}. $(administrator_line)"; fi
    install_missing
  done
  # Nothing else needs it: without, jllm has no `serve`, and says so when it is configured.
  "$repo/tools/get_httplib.sh" --check || [ "$check_only" = 1 ] || "$repo/tools/get_httplib.sh" ||
    warn '      cpp-httplib could not be had: jllm will be built without "serve"'
  say "      everything that building needs is here ($(seconds_since "$start"))"
}

main "$@"

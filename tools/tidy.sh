#!/usr/bin/env bash
# clang-tidy with the short list of .clang-tidy; a finding is an error. What continuous integration checks is what runs on
# the device and what it is held to: executor, schema, text and the references of the kernels.
# usage: tools/tidy.sh [--all | --changed [COMMIT] | FILE...]
#   --all      every source that build/ compiles (many minutes)
#   --changed  of those, what differs from a commit (default: main), untracked files too
# Needs build/compile_commands.json (tools/test.sh or cmake --preset release) and clang-tidy; with no clang-tidy it leaves
# with status 77, which ctest shows as skipped.
set -euo pipefail
# shellcheck source=tools/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

device_side='^(executor|schema|kernels/reference)/.*\.cpp$'

# Sources that the build compiles, relative to the repository, one per line.
compiled() {
  python3 -c '
import json, os, sys
repo = os.path.realpath(sys.argv[1])
for entry in json.load(open(sys.argv[2])):
    path = os.path.relpath(os.path.realpath(entry["file"]), repo)
    if not path.startswith(("..", "build")): print(path)' "$repo" "$build_dir/compile_commands.json" | sort -u
}

# Each source once, as the build compiles it first: instruction sets and small libraries compile some of them again.
compile_each_once() {
  mkdir -p "$build_dir/tidy"
  python3 -c '
import json, sys
first = {}
for entry in json.load(open(sys.argv[1])): first.setdefault(entry["file"], entry)
json.dump(list(first.values()), open(sys.argv[2], "w"))' \
    "$build_dir/compile_commands.json" "$build_dir/tidy/compile_commands.json"
}

changed_since() {
  cd "$repo"
  { git diff --name-only "$1" --; git ls-files --others --exclude-standard; } | sort -u
}

select_files() {
  case "${1:-}" in
    --all) compiled ;;
    --changed) comm -12 <(compiled) <(changed_since "${2:-main}") ;;
    '') compiled | grep -E "$device_side" ;;
    *) printf '%s\n' "$@" ;;
  esac
}

main() {
  local -a files
  case "${1:-}" in -h | --help) sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;; esac
  load_environment
  if ! command -v clang-tidy >/dev/null; then
    warn 'skipped: clang-tidy is missing (tools/setup.sh --gates)'
    exit 77
  fi
  [ -f "$build_dir/compile_commands.json" ] || die 'there is no build/compile_commands.json: run cmake --preset release'
  mapfile -t files < <(select_files "$@")
  if [ "${#files[@]}" = 0 ]; then say 'no file to check'; exit 0; fi
  say "clang-tidy: ${#files[@]} files"
  # One file a process, so that the longest do not wait behind each other; GCC's own warning flags are unknown to clang.
  compile_each_once
  cd "$repo"
  printf '%s\0' "${files[@]}" |
    xargs -0 -n 1 -P "$(build_jobs)" clang-tidy -p "$build_dir/tidy" --quiet --warnings-as-errors='*' \
      --extra-arg=-Wno-unknown-warning-option
}

main "$@"

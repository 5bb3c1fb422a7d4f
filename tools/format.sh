#!/usr/bin/env bash
# Formats the tracked C, C++ and CUDA sources with clang-format and the style in .clang-format.
# usage: tools/format.sh [--check] [FILE...]     --check: change nothing, status 1 when a file would change
# clang-format 14 is the version that the tree is kept in; others differ in details. CLANG_FORMAT names one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

options=(-i)
if [ "${1:-}" = --check ]; then
  options=(--dry-run --Werror)
  shift
fi
format=${CLANG_FORMAT:-$(command -v clang-format-14 || command -v clang-format || true)}
if [ -z "$format" ]; then
  echo 'clang-format is missing: apt-get install clang-format' >&2
  exit 1
fi
if [ $# -gt 0 ]; then
  files=("$@")
else
  mapfile -t files < <(git ls-files -- '*.h' '*.hpp' '*.c' '*.cpp' '*.cu' '*.cuh')
fi
if [ "${#files[@]}" -gt 0 ]; then "$format" "${options[@]}" "${files[@]}"; fi

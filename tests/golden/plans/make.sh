#!/usr/bin/env bash
# Makes the golden plan of a released format version with the programs of the commit that wrote it, and records the
# tokens that they generate from it. The plans of earlier versions are never made anew: they are what is out there.
# usage: tests/golden/plans/make.sh VERSION COMMIT      from the repository's root, after a build of make_golden_model
#   1.0  613bf78    1.1  d052031    1.2  f502312
set -euo pipefail
[ $# = 2 ] || { sed -n '2,5s/^# //p' "$0"; exit 2; }
version=$1
commit=$2
repo=$(git rev-parse --show-toplevel)
here="$repo/tests/golden/plans"
tree=$(mktemp -d)
trap 'git -C "$repo" worktree remove --force "$tree"; rm -rf "$tree"' EXIT

git -C "$repo" worktree add --detach "$tree" "$commit" >/dev/null
cmake -S "$tree" -B "$tree/build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DJLLM_BUILD_TESTS=OFF >/dev/null
ninja -C "$tree/build" jllmc jllm >/dev/null
"$repo/build/tests/make_golden_model" "$tree/golden.gguf"
"$tree/build/bin/jllmc" compile "$tree/golden.gguf" -o "$here/plan-$version.jllm" --target host --context 64
"$tree/build/bin/jllm" run "$here/plan-$version.jllm" -p 'Once upon' -n 24 -t 0 --ignore-end --threads 1 --json |
  python3 -c 'import json, sys; d = json.load(sys.stdin); print(*d["tokens"])' >"$here/plan-$version.tokens"

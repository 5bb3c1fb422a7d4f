#!/usr/bin/env bash
# Makes the golden plan of a released format version with the programs of the commit that wrote it, and records the
# tokens that they generate from it; from 1.3 on also a signed one whose weights are in a file of their own, by a key
# that is then thrown away. The plans of earlier versions are never made anew: they are what is out there.
# usage: tests/golden/plans/make.sh VERSION COMMIT      from the repository's root, after a build of make_golden_model
#   1.0  613bf78    1.1  d052031    1.2  f502312    1.3  094509f    1.4  078dbc9
set -euo pipefail
[ $# = 2 ] || { sed -n '2,6s/^# //p' "$0"; exit 2; }
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
compile=("$tree/build/bin/jllmc" compile "$tree/golden.gguf" --target host --context 64)
"${compile[@]}" -o "$here/plan-$version.jllm"
if "${compile[@]}" -o "$here/split-$version.jllm" --split-weights; then
  "$tree/build/bin/jllmc" keygen "$tree/split"
  "$tree/build/bin/jllmc" sign "$here/split-$version.jllm" --key "$tree/split.key"
  cp "$tree/split.pub" "$here/split-$version.pub"
fi
"$tree/build/bin/jllm" run "$here/plan-$version.jllm" -p 'Once upon' -n 24 -t 0 --ignore-end --threads 1 --json |
  python3 -c 'import json, sys; d = json.load(sys.stdin); print(*d["tokens"])' >"$here/plan-$version.tokens"

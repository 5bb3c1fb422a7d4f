#!/usr/bin/env bash
# Fetches cpp-httplib, on which `jllm serve` stands: one header, and its licence (MIT), from Debian's source package into
# .deps/httplib/. Distributions' own development packages split it into a header and a shared library, which a device
# would need as well. Without it jllm is built, but has no `serve`.
# usage: tools/get_httplib.sh [--check]
#   --check   only look; exit status 1 when it is not here
set -euo pipefail
# shellcheck source=tools/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

dir="$deps/httplib"
archive=pool/main/c/cpp-httplib/cpp-httplib_0.11.4+ds.orig.tar.xz
sum=8b1a5df569003b6a4f24c68489bbda5c64aec94697bdc9ebba5d79408b2ae7eb

case "${1:-}" in
  '' | --check) ;;
  -h | --help) sed -n '2,6s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
  *) warn "unknown option: $1 (see --help)"; exit 2 ;;
esac
if [ "$(cat "$dir/complete" 2>/dev/null)" = "$sum" ]; then exit 0; fi
if [ "${1:-}" = --check ]; then exit 1; fi
mkdir -p "$deps"
work=$(mktemp -d "$deps/httplib.XXXXXX")
trap 'rm -rf "$work"' EXIT
fetch_from_debian "$sum" "$archive" "$work/source.tar.xz"
# By Python, which has xz of its own.
python3 - "$work" <<'PYTHON'
import os, shutil, sys, tarfile
with tarfile.open(sys.argv[1] + "/source.tar.xz") as archive:
    for member in archive.getmembers():
        name = os.path.basename(member.name)
        if member.name.count("/") == 1 and name in ("httplib.h", "LICENSE"):
            with archive.extractfile(member) as source, open(os.path.join(sys.argv[1], name), "wb") as out:
                shutil.copyfileobj(source, out)
PYTHON
mkdir -p "$dir"
mv "$work/httplib.h" "$work/LICENSE" "$dir"
echo "$sum" >"$dir/complete"
say "      fetched cpp-httplib into ${dir#"$repo/"}"

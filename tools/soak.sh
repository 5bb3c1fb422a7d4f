#!/usr/bin/env bash
# Keeps `jllm serve` busy for 24 hours, or as long as is said, with requests of many kinds, samples memory, temperatures
# and speed, and ends with a report: does memory grow, and how sure is that?
# usage: tools/soak.sh --plan PLAN -o FOLDER [--hours H | --minutes M] [--clients N]      (--help has the rest)
# Needs python3 alone; clients and server are on this machine.
set -euo pipefail
command -v python3 >/dev/null || {
  echo 'error: tools/soak.sh needs python3' >&2
  exit 2
}
exec python3 -B "$(dirname "${BASH_SOURCE[0]}")/soak/main.py" "$@"

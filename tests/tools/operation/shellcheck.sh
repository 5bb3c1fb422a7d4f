#!/usr/bin/env bash
# shellcheck over tools/*.sh; exit status 77 where it is not here.
# usage: shellcheck.sh REPOSITORY
set -euo pipefail
if ! command -v shellcheck >/dev/null; then
  echo 'skipped: shellcheck is not here (Debian: shellcheck)'
  exit 77
fi
cd "$1"
shellcheck -x tools/*.sh packaging/debian/*

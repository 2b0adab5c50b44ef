#!/usr/bin/env bash
# One machine with any number of GPUs: one process drives them all. Starting it again goes on where it stopped, and on
# status 75 (a read timed out) it starts again by itself, ten times at most.
set -euo pipefail
for start in 1 2 3 4 5 6 7 8 9 10; do
  status=0
  python main.py --config="${CONFIG:-configs/ipf128.py}" --workdir="${WORKDIR:-runs/ipf128}" "$@" || status=$?
  [ $status -eq 75 ] || break
done
exit $status

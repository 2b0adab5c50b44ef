#!/usr/bin/env bash
# One machine with any number of GPUs: one process drives them all. Start it again to go on where it stopped. On status 75
# (a read timed out) it starts again by itself, at most ten times.
set -euo pipefail
for start in 1 2 3 4 5 6 7 8 9 10; do
  status=0
  python main.py --config="${CONFIG:-configs/ipf128.py}" --workdir="${WORKDIR:-runs/ipf128}" "$@" || status=$?
  [ $status -eq 75 ] || break
done
exit $status

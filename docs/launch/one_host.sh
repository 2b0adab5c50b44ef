#!/usr/bin/env bash
# One machine with any number of GPUs: one process drives them all. Starting it again goes on where it stopped.
set -euo pipefail
exec python main.py --config="${CONFIG:-configs/ipf128.py}" --workdir="${WORKDIR:-runs/ipf128}" "$@"

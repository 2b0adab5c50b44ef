#!/usr/bin/env bash
# A Cloud TPU slice: the same command on every host; with --coordinator=auto the hosts find each other.
#   TPU=my-slice ZONE=us-east5-a WORKDIR=/shared/ipf128 docs/launch/tpu_slice.sh --config.train.steps=1000
# WORKDIR must be a folder that every host sees.
set -euo pipefail
flags=(--config="${CONFIG:-configs/ipf128.py}" --workdir="${WORKDIR:?a shared folder}" --coordinator=auto "$@")
gcloud compute tpus tpu-vm ssh "${TPU:?name of the slice}" --zone="${ZONE:?its zone}" --worker=all --command="
  cd microgen-jax && python main.py$(printf ' %q' "${flags[@]}")"

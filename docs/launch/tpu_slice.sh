#!/usr/bin/env bash
# A Cloud TPU slice: the same command on every host; the hosts find each other.
#   TPU=my-slice ZONE=us-east5-a docs/launch/tpu_slice.sh
# WORKDIR must be a folder that every host sees.
set -euo pipefail
gcloud compute tpus tpu-vm ssh "${TPU:?name of the slice}" --zone="${ZONE:?its zone}" --worker=all --command="
  cd microgen-jax &&
  python main.py --config=${CONFIG:-configs/ipf128.py} --workdir=${WORKDIR:?a shared folder} $*"

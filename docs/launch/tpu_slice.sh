#!/usr/bin/env bash
# A Cloud TPU slice: the same command on every host; with --coordinator=auto the hosts find each other.
#   TPU=my-slice ZONE=us-east5-a WORKDIR=gs://bucket/ipf128 docs/launch/tpu_slice.sh --config.train.steps=1000
# A host whose read timed out ends with status 75, and JAX ends the others: all start again, at most ten times. Status 2
# is an error to be fixed by hand.
set -euo pipefail
flags=(--config="${CONFIG:-configs/ipf128.py}" --workdir="${WORKDIR:?gs://bucket/run}" --coordinator=auto "$@")
gcloud compute tpus tpu-vm ssh "${TPU:?name of the slice}" --zone="${ZONE:?its zone}" --worker=all --command="
  cd microgen-jax
  for start in 1 2 3 4 5 6 7 8 9 10; do
    status=0; python main.py$(printf ' %q' "${flags[@]}") || status=\$?
    case \$status in 0|2) break;; esac
  done
  exit \$status"

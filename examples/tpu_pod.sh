#!/bin/bash
# A TPU slice of several hosts: the same command on each of them, from your own machine. Not tried on a TPU yet: see
# docs/scale.md. ~/bert-jax is a clone of this repository on every host, with `pip install -r requirements.txt` and
# `pip install "jax[tpu]"` done there in the same way. Process 0 alone keeps checkpoints, so a recipe's --run_dir
# must be on a disk that all hosts see.
set -euo pipefail
: "${TPU_NAME:?name of the slice}" "${ZONE:?its zone}"

gcloud compute tpus tpu-vm ssh "$TPU_NAME" --zone="$ZONE" --worker=all --command="
  cd ~/bert-jax && python -m train.main --scheduler=mtdnn --coordinator=auto --process_timeout=120 \
    --data_dir=\$HOME/data/cs224n --init=google-bert/bert-base-uncased --run_dir=\$HOME/runs/mtdnn"

#!/bin/bash
# Two hosts with eight GPUs each, and a process for each GPU, as JAX has it under Slurm: with one process a host it would
# use one GPU a host. Not tried on a cluster yet: see docs/scale.md.
#SBATCH --job-name=bert-jax
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=4
#SBATCH --time=04:00:00
#SBATCH --signal=TERM@120     # two minutes before the end: the run saves its state and exits with 75
#SBATCH --requeue

# The folder is on a disk that both hosts see. The same command goes on where the last job stopped.
srun python -m train.main --scheduler=mtdnn \
  --data_dir="$HOME/data/cs224n" --init=google-bert/bert-base-uncased \
  --coordinator=auto --process_timeout=120 --run_dir="$SCRATCH/runs/mtdnn"
code=$?
if [ "$code" -eq 75 ] || [ "$code" -eq 7 ]; then scontrol requeue "$SLURM_JOB_ID"; fi
exit "$code"

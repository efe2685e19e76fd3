#!/usr/bin/env bash
#SBATCH --job-name=splatport
#SBATCH --array=0-1
#SBATCH --cpus-per-task=8
#SBATCH --signal=B:TERM@60
# A data set as a Slurm array: `sbatch slurm.sh MANIFEST RESULTS`. Every task finds its shard in Slurm's variables; a task that runs
# out of time ends after its batch, and goes on when it is submitted again.
# For one GPU a task: `#SBATCH --gres=gpu:1`, and `--device cuda` below.
set -euo pipefail
exec splatport run --manifest "$1" --out "$2" --stride 8

#!/bin/bash
# One sweep on a SLURM cluster: Ray runs on the nodes of the job, and the sweep on the first of them.
#   sbatch docs/cluster-slurm.sh
# Checkpoints and the log are in a folder that all nodes share.  Submit the job again to resume.
# Edit the #SBATCH lines and the three lines below.
#SBATCH --job-name=gensweep
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-node=4
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@300
set -euo pipefail

SPACE="$HOME/gensweep/search_spaces/ddpm.yaml"
NAME=ddpm-cifar10                  # the name in that file
WORK="$HOME/results"               # a folder that every node sees

source "$HOME/gensweep/.venv/bin/activate"
mkdir -p "$WORK"
cd "$WORK"

# One token per job; without it, anyone who reaches Ray's port could run code as you.
export RAY_AUTH_MODE=token
RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_TOKEN

HEAD=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
PORT=$((20000 + SLURM_JOB_ID % 20000)) # different for jobs that share a node
export RAY_ADDRESS="$HEAD:$PORT"

SWEEP=("$SPACE" --storage "$WORK/storage")
if [ -f "sweeps/$NAME/sweep.json" ]; then SWEEP=(--resume "$NAME"); fi

# Files for the sweep's process id, to pass on SLURM's signal before the time is up, and for its exit code:
# `ray symmetric-run` returns 0 even if Ray did not start.
MARK="$WORK/.job-$SLURM_JOB_ID"
trap 'kill -TERM "$(cat "$MARK.pid")"' TERM
srun ray symmetric-run --address "$HEAD:$PORT" --min-nodes "$SLURM_NNODES" \
  --num-cpus="$SLURM_CPUS_PER_TASK" --num-gpus="$SLURM_GPUS_ON_NODE" --disable-usage-stats -- \
  bash -c '"${@:2}" & echo $! > "$1.pid"; wait $!; echo $? > "$1.code"' sweep "$MARK" gensweep tune "${SWEEP[@]}" &
STEP=$!
wait $STEP || true # the signal ends the first wait
wait $STEP || true
exit "$(cat "$MARK.code" || echo 1)"

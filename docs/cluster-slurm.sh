#!/bin/bash
# One sweep on a SLURM cluster: Ray runs on the nodes of the job, and the sweep on the first of them.
#   sbatch docs/cluster-slurm.sh
# Checkpoints and the log lie in a folder that all nodes share, so the job can be sent again when its time was too short:
# it goes on where it was.  Edit the lines of #SBATCH and the three below.
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

# Each job has a token of its own: whoever reaches the port of Ray could otherwise run code as you.
export RAY_AUTH_MODE=token
RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_TOKEN

HEAD=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
PORT=$((20000 + SLURM_JOB_ID % 20000)) # jobs that share a node do not meet
export RAY_ADDRESS="$HEAD:$PORT"

SWEEP=("$SPACE" --storage "$WORK/storage")
if [ -f "sweeps/$NAME/sweep.json" ]; then SWEEP=(--resume "$NAME"); fi

# The sweep leaves its process id, for the signal that SLURM sends to this script before the time is up, and its exit
# code, as `ray symmetric-run` ends with 0 also if Ray did not start.
MARK="$WORK/.job-$SLURM_JOB_ID"
trap 'kill -TERM "$(cat "$MARK.pid")"' TERM
srun ray symmetric-run --address "$HEAD:$PORT" --min-nodes "$SLURM_NNODES" \
  --num-cpus="$SLURM_CPUS_PER_TASK" --num-gpus="$SLURM_GPUS_ON_NODE" --disable-usage-stats -- \
  bash -c '"${@:2}" & echo $! > "$1.pid"; wait $!; echo $? > "$1.code"' sweep "$MARK" gensweep tune "${SWEEP[@]}" &
STEP=$!
wait $STEP || true # the signal ends the first wait
wait $STEP || true
exit "$(cat "$MARK.code" || echo 1)"

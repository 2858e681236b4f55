#!/usr/bin/env bash
# Train under Slurm: tools/slurm_train.sh PARTITION JOB_NAME CONFIG [arguments of tools/train.py]
# NODES (1) and GPUS_PER_NODE (8) say how much to ask for; SRUN_ARGS is passed to srun.
set -euo pipefail
if [ $# -lt 3 ]; then
  echo "usage: tools/slurm_train.sh PARTITION JOB_NAME CONFIG [arguments of tools/train.py]" >&2
  exit 2
fi
PARTITION=$1
JOB_NAME=$2
CONFIG=$3
shift 3
export TOOLS GPUS=${GPUS_PER_NODE:-8} CONFIG PORT=${PORT:-29500}
TOOLS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# One launcher per node; torchrun starts a process per GPU.
# shellcheck disable=SC2086,SC2016
exec srun --partition="$PARTITION" --job-name="$JOB_NAME" --nodes="${NODES:-1}" \
  --ntasks-per-node=1 --gres="gpu:$GPUS" --cpus-per-task="${CPUS_PER_TASK:-32}" \
  --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
  bash -c 'export NNODES=$SLURM_NNODES NODE_RANK=$SLURM_NODEID
           export MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
           exec bash "$TOOLS/dist_train.sh" "$CONFIG" "$GPUS" "$@"' train "$@"

#!/usr/bin/env bash
# Train under Slurm: tools/slurm_train.sh PARTITION JOB_NAME CONFIG [arguments of tools/train.py]
# It submits a batch job. Two minutes before the time limit (GRACE, in seconds) the run saves and the job is
# requeued, as after a preemption; it then resumes from its newest checkpoint. A job that is cancelled or
# fails is not requeued.
# NODES (1), GPUS_PER_NODE (8) and CPUS_PER_TASK (32) are the resources; SBATCH_ARGS is passed to sbatch
# (--time=..., --output=...) and SRUN_ARGS to srun. Within an existing job it only calls srun.
set -euo pipefail
if [ $# -lt 3 ]; then
  echo "usage: tools/slurm_train.sh PARTITION JOB_NAME CONFIG [arguments of tools/train.py]" >&2
  exit 2
fi
TOOLS=${SSL_EXT_TOOLS:-$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)}
export SSL_EXT_TOOLS=$TOOLS  # Slurm runs a copy of this script in another folder
if [ -z "${SLURM_JOB_ID:-}" ]; then
  export SSL_EXT_BATCH=1
  # shellcheck disable=SC2086
  exec sbatch --partition="$1" --job-name="$2" --nodes="${NODES:-1}" --ntasks-per-node=1 \
    --gres="gpu:${GPUS_PER_NODE:-8}" --cpus-per-task="${CPUS_PER_TASK:-32}" --requeue \
    --open-mode=append --signal="B:USR1@${GRACE:-120}" ${SBATCH_ARGS:-} "$TOOLS/slurm_train.sh" "$@"
fi

export TOOLS GPUS=${GPUS_PER_NODE:-8} CONFIG=$3 PORT=${PORT:-29500}
PARTITION=$1
JOB_NAME=$2
shift 3
# The last --resume takes effect.
if [ -n "${SSL_EXT_BATCH:-}" ]; then
  set -- --resume auto "$@"
fi
TIME_IS_UP=
trap 'TIME_IS_UP=1; kill -USR1 "$STEP" 2>/dev/null || true' USR1
trap 'kill -TERM "$STEP" 2>/dev/null || true' TERM
# One launcher per node; torchrun starts a process per GPU. SIGUSR1 reaches the launcher too, which
# ignores it and waits for its processes.
# shellcheck disable=SC2086,SC2016
srun --partition="$PARTITION" --job-name="$JOB_NAME" --nodes="${NODES:-1}" \
  --ntasks-per-node=1 --gres="gpu:$GPUS" --cpus-per-task="${CPUS_PER_TASK:-32}" \
  --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
  bash -c 'export NNODES=$SLURM_NNODES NODE_RANK=$SLURM_NODEID
           export MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
           exec bash "$TOOLS/dist_train.sh" "$CONFIG" "$GPUS" "$@"' train "$@" &
STEP=$!
# A signal ends a wait, not the process that was waited for, whose status is asked for at the end.
while kill -0 "$STEP" 2>/dev/null; do
  wait "$STEP" || true
done
STATUS=0
wait "$STEP" || STATUS=$?
if [ -n "$TIME_IS_UP" ] && [ "$STATUS" -ne 0 ]; then
  echo "The time of job $SLURM_JOB_ID is up: it goes back into the queue."
  scontrol requeue "$SLURM_JOB_ID"
  exit 0
fi
exit "$STATUS"

#!/usr/bin/env bash
# Train on several processes: tools/dist_train.sh CONFIG GPUS [arguments of tools/train.py]
# Several nodes: set NNODES, NODE_RANK, MASTER_ADDR (and PORT) on each.
# Without GPUs the processes run on the CPU (gloo).
set -euo pipefail
if [ $# -lt 2 ]; then
  echo "usage: tools/dist_train.sh CONFIG GPUS [arguments of tools/train.py]" >&2
  exit 2
fi
CONFIG=$1
GPUS=$2
case $GPUS in
  '' | *[!0-9]*)
    echo "error: '$GPUS' is not a number of processes: tools/dist_train.sh CONFIG GPUS [arguments of tools/train.py]" >&2
    exit 2
    ;;
esac
shift 2
TOOLS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PYTHONPATH=${PYTHONPATH:+$PYTHONPATH:}${TOOLS%/*} # the package, if it is not installed
# Slurm sends its warning (SIGUSR1) to every process of a job. The training processes save and exit; the
# launcher must ignore the signal, which would kill it, and wait for them. After SIGTERM it waits 30 seconds
# (TORCH_ELASTIC_SHUTDOWN_TIMEOUT).
trap '' USR1
exec "${PYTHON:-python}" -m ssl_ext.cli.launch \
  --nnodes="${NNODES:-1}" \
  --node_rank="${NODE_RANK:-0}" \
  --master_addr="${MASTER_ADDR:-127.0.0.1}" \
  --master_port="${PORT:-29500}" \
  --nproc_per_node="$GPUS" \
  "$TOOLS/train.py" "$CONFIG" "$@"

#!/usr/bin/env bash
# Start or stop a Slurm cluster of two nodes on this machine, as its user, without system services:
#   tests/slurm/cluster.sh start FOLDER    (then export SLURM_CONF=FOLDER/slurm.conf)
#   tests/slurm/cluster.sh stop FOLDER
# Needs Debian's packages `slurm-wlm` and `munge`. Each node claims 4 cores and 2 GPUs, which are devices
# that every Linux has. The nodes' names are loopback addresses, so that jobs can reach each other by them;
# every port is bound to loopback. A requeued job starts again after 5 s, not Slurm's usual 2 minutes.
set -euo pipefail
FOLDER=$(mkdir -p "$2" && cd "$2" && pwd)
USER_NAME=$(id -un)
export SLURM_CONF=$FOLDER/slurm.conf PATH=$PATH:/usr/sbin

stop() {
  # Jobs first: the processes that watch them outlive the nodes' daemons.
  timeout 10 scancel --full --signal=KILL --user="$USER_NAME" || true
  timeout 10 scancel --user="$USER_NAME" || true
  local file
  for file in "$FOLDER"/*.pid; do
    kill "$(cat "$file")" 2>/dev/null || true
  done
}

port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

start() {
  local node host
  host=$(hostname -s)
  mkdir -p "$FOLDER/state"
  head -c 1024 /dev/urandom >"$FOLDER/munge.key"
  chmod 600 "$FOLDER/munge.key"
  cat >"$FOLDER/slurm.conf" <<END
ClusterName=tests
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$(port)
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser=$USER_NAME
SlurmdUser=$USER_NAME
AuthType=auth/munge
AuthInfo=socket=$FOLDER/munge.socket,cred_expire=5
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
GresTypes=gpu
MpiDefault=none
ReturnToService=2
KillWait=10
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
StateSaveLocation=$FOLDER/state
SlurmdSpoolDir=$FOLDER/spool-%n
SlurmdParameters=config_overrides
SlurmctldPidFile=$FOLDER/slurmctld.pid
SlurmdPidFile=$FOLDER/slurmd-%n.pid
SlurmctldLogFile=$FOLDER/slurmctld.log
SlurmdLogFile=$FOLDER/slurmd-%n.log
NodeName=127.0.0.1 NodeHostname=$host Port=$(port) CPUs=4 Gres=gpu:2
NodeName=127.0.0.2 NodeHostname=$host Port=$(port) CPUs=4 Gres=gpu:2
PartitionName=main Nodes=ALL Default=YES
END
  printf 'Name=gpu File=/dev/%s\n' null zero >"$FOLDER/gres.conf"
  munged --force --key-file="$FOLDER/munge.key" --socket="$FOLDER/munge.socket" \
    --pid-file="$FOLDER/munged.pid" --log-file="$FOLDER/munged.log" --seed-file="$FOLDER/munged.seed"
  slurmctld
  for node in 127.0.0.1 127.0.0.2; do
    slurmd -N "$node"
  done
  for _ in {1..100}; do
    if [ "$(sinfo --noheader --Node --states=idle 2>/dev/null | wc -l)" = 2 ]; then
      return
    fi
    sleep 0.1
  done
  echo "the cluster did not start; see the logs in $FOLDER" >&2
  stop
  exit 1
}

"$1"

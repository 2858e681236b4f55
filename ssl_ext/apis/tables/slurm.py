"""Workers as arrays of Slurm jobs, which outlive the command that submits them."""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ssl_ext.errors import UserError
from ssl_ext.processes import PARENT

from .jobs import digest
from .plan import worker_command

GPUS_PER_NODE = 8
CPUS_PER_GPU = 4
GRACE = 120
"""Seconds before the time limit at which a worker saves and is requeued."""
RESTARTS = 100

# Slurm signals this script alone before the time limit (USR1), and every process when it cancels, requeues or
# ends the job (TERM). A worker that was stopped or killed has a status of at least 128.
SCRIPT = r"""#!/usr/bin/env bash
export PYTHON={python} NODES=$SLURM_JOB_NUM_NODES GPUS_PER_NODE={gpus} CPUS_PER_TASK=$SLURM_CPUS_PER_TASK
export PORT=$((20000 + SLURM_JOB_ID % 10000))  # jobs that share a node need different ports
{worker} &
WORKER=$!
CANCELLED=
trap 'kill -TERM "$WORKER" 2>/dev/null' USR1
trap 'CANCELLED=1; kill -TERM "$WORKER" 2>/dev/null' TERM
# A signal ends a wait, not the process that was waited for, whose status is asked for at the end.
while kill -0 "$WORKER" 2>/dev/null; do wait "$WORKER"; done
wait "$WORKER"
STATUS=$?
TASK=${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID
# TERM is also how Slurm ends a job at its time limit, if saving took longer than the grace.
REASON=$(squeue --noheader --jobs="$TASK" --format=%r)
if [ "$REASON" = TimeLimit ]; then CANCELLED=; fi
if [ -z "$CANCELLED" ] && [ "$STATUS" -ge 128 ] && [ "${{SLURM_RESTART_COUNT:-0}}" -lt {restarts} ]; then
  echo "Worker $TASK ended with status $STATUS: it goes back into the queue."
  scontrol requeue "$TASK" && exit 0
fi
exit "$STATUS"
"""


class Slurm:
    """Starter of workers that are tasks of a Slurm array.

    A worker ends when no job is left that it could start, so that it holds no idle GPUs. At its time limit,
    or if it dies, it is requeued and resumes; after ``scancel`` it is not. Output goes to ``slurm/`` in the
    table's folder.

    Args:
        folder: Folder of the table, which all nodes share.
        processes: Processes of the jobs of a worker, which has as many GPUs, at most :data:`GPUS_PER_NODE`
            (or the environment's ``GPUS_PER_NODE``) on a node.
        arguments: More arguments of sbatch, which override those set here.
    """

    attached = False

    def __init__(self, folder: Path, processes: int = 1, *, arguments: Sequence[str] = ()) -> None:
        self.folder, self.arguments = folder, arguments
        most = int(os.environ.get("GPUS_PER_NODE", GPUS_PER_NODE))
        self.nodes = -(-processes // most)
        self.gpus = -(-processes // self.nodes)
        self.worker = worker_command(folder, processes, wait=False)
        self.name = f"{folder.name}-{processes}-{digest(str(folder))[:6]}"

    def start(self, n: int) -> int:
        """Top up to ``n`` queued or running workers; return their number.

        Raises:
            UserError: Slurm refuses the workers.
        """
        logs = self.folder / "slurm"
        logs.mkdir(exist_ok=True)
        with open(logs / ".lock", "w") as lock:
            # Another driver may be counting.
            fcntl.flock(lock, fcntl.LOCK_EX)
            queued = _call("squeue", "--me", "--noheader", "--array", f"--name={self.name}", "--format=%i")
            have = len(queued.split())
            if have < n:
                _call(
                    "sbatch",
                    f"--job-name={self.name}",
                    f"--array=0-{n - have - 1}",
                    f"--output={logs}/%A_%a.txt",
                    "--open-mode=append",
                    "--requeue",
                    f"--signal=B:USR1@{GRACE}",
                    f"--nodes={self.nodes}",
                    "--ntasks-per-node=1",
                    f"--gres=gpu:{self.gpus}",
                    f"--cpus-per-task={CPUS_PER_GPU * self.gpus}",
                    *self.arguments,
                    script=self.script,
                )
        return max(have, n)

    def stop(self) -> None:
        """Leave the workers, which ``scancel`` ends, alone."""

    @property
    def script(self) -> str:
        """The batch script of a worker."""
        words = dict(python=shlex.quote(sys.executable), worker=shlex.join(self.worker))
        return SCRIPT.format(**words, gpus=self.gpus, restarts=RESTARTS)


def require_slurm() -> None:
    """Raise UserError if Slurm is not installed."""
    if not shutil.which("sbatch"):
        raise UserError("--slurm: the command 'sbatch' was not found; run this on a machine of the cluster.")


def on_nodes(name: str, words: Sequence[str]) -> list[str]:
    """Command of a training on all nodes of this Slurm job; ``words`` are its arguments.

    Raises:
        UserError: ``tools/slurm_train.sh`` is not there: the package is not installed from a checkout.
    """
    script = Path(__file__).parents[3] / "tools" / "slurm_train.sh"
    if not script.exists():
        raise UserError(f"A training of several nodes needs a checkout of the project: no '{script}'.")
    # Its processes have other parents, on other machines.
    return ["env", "-u", PARENT, "bash", str(script), os.environ["SLURM_JOB_PARTITION"], name, *words]


def _call(*words: str, script: str | None = None) -> str:
    done = subprocess.run(words, input=script, capture_output=True, text=True)
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"status {done.returncode}"
        raise UserError(f"--slurm: {words[0]} refused ({said}).")
    return done.stdout

"""Workers as tasks of Ray, for clusters without Slurm; on one machine, Ray is started on loopback."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

from ssl_ext.errors import UserError
from ssl_ext.processes import ends_with_me

from .local import WORKERS_LOG, Local
from .plan import worker_command

KILLED = -int(signal.SIGKILL)


class Ray(Local):
    """Starter of workers on a Ray cluster, which end when this process does.

    Without ``RAY_ADDRESS``, Ray is started on this machine, listens on loopback only, and ends with this
    process. Workers on the CPU share its threads; those of jobs of one process share GPUs if there are fewer
    GPUs than workers.

    Args:
        folder: Folder of the table, which all machines share; output goes to ``workers.log`` there.
        processes: Processes of the jobs of a worker, which has as many GPUs of one machine.
        workers: Number of workers.

    Raises:
        UserError: Ray is not installed, or its cluster has not enough GPUs on one machine.
    """

    def __init__(self, folder: Path, processes: int = 1, *, workers: int = 1) -> None:
        self.ray = connect()
        self.folder, self.processes = folder, processes
        self.running, self.restarts = {}, 0
        most = most_gpus()
        resources = self.ray.cluster_resources()
        gpus, cpus = resources.get("GPU", 0), resources.get("CPU", 1)
        # A task must fit on one machine; those that have no part in the work (head nodes) do not count.
        alive = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        smallest = min(
            (node.get("CPU", 1) for node in alive if node.get("GPU" if gpus else "CPU")), default=1
        )
        share: float = processes
        if processes == 1:
            # An equal part of a GPU, so that every worker finds room on one.
            share = 1 / -(-workers // max(int(gpus), 1)) if gpus else 0
        elif processes > most:
            raise UserError(f"--ray: a job needs {processes} GPUs of one machine; the largest has {most}.")
        self.slots = [dict(num_gpus=share, num_cpus=max(1, int(min(cpus // workers, smallest))))] * workers

    def _start(self, slot: dict[str, Any]) -> Any:
        # Ray runs no killed task again by itself: this class does, as it does for workers of this machine.
        task = self.ray.remote(max_retries=0, **slot)(_run)
        words = worker_command(self.folder, self.processes)
        return _Task(self.ray, task.remote(words, os.getcwd(), str(self.folder / WORKERS_LOG)))


def connect() -> Any:
    """Connect to the cluster of ``RAY_ADDRESS``, else start Ray here; return the module.

    Raises:
        UserError: Ray is not installed, or cannot be started or reached.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    address = os.environ.get("RAY_ADDRESS")
    if not address:
        # By default Ray's servers listen on every interface; its setting for desktops binds them to loopback.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    try:
        import ray
    except ImportError as error:
        raise UserError("--ray: Ray is not installed: pip install 'ssl_ext[ray]'.") from error
    if not ray.is_initialized():
        settings = {} if address else dict(include_dashboard=False)
        try:
            _check_answer(address or "")
            ray.init(address or "local", logging_level="warning", log_to_driver=False, **settings)
        except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            what = f"reached at '{address}'" if address else "started"
            raise UserError(f"--ray: Ray cannot be {what} ({error}).") from error
    return ray


def _check_answer(address: str) -> None:
    """Raise OSError if nothing listens at ``HOST:PORT``, which Ray itself tries for many minutes."""
    host, _, port = address.rpartition(":")
    if host and "/" not in address and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def most_gpus() -> int:
    """Number of GPUs of the machine of the cluster that has most."""
    nodes = connect().nodes()
    return max(int(node["Resources"].get("GPU", 0)) for node in nodes if node["Alive"])


def _run(words: list[str], folder: str, log: str) -> int:
    """Run a worker within a task of Ray; its exit status."""
    with open(log, "ab") as output:
        worker = subprocess.Popen(
            words,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **ends_with_me(signal.SIGTERM)},
            start_new_session=True,
        )
    try:
        return worker.wait()
    finally:
        # The task was cancelled.
        worker.terminate()
        worker.wait()


class _Task:
    """A task of Ray with the methods of a process."""

    def __init__(self, ray: Any, task: Any) -> None:
        self.ray, self.task = ray, task

    def poll(self) -> int | None:
        """Exit status of the worker, or None while it runs."""
        return self.wait() if self.ray.wait([self.task], timeout=0)[0] else None

    def terminate(self) -> None:
        """Send SIGTERM to the worker."""
        self.ray.cancel(self.task)

    def wait(self) -> int:
        """Wait for the worker."""
        try:
            return self.ray.get(self.task)
        except self.ray.exceptions.TaskCancelledError:
            return 128 + signal.SIGTERM
        except self.ray.exceptions.RayError:
            return KILLED

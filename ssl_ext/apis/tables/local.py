"""Workers on this machine: one for each GPU, or for the CPU."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from ssl_ext.processes import ends_with_me

from .plan import worker_command

WORKERS_LOG = "workers.log"
RESTARTS = 100


class Worker(Protocol):
    """A worker process, for example a :class:`subprocess.Popen`."""

    def poll(self) -> int | None:
        """Exit status, or None while it runs."""

    def terminate(self) -> None:
        """Tell it to save and end."""

    def wait(self) -> int:
        """Wait until it has ended; return its exit status."""


class Local:
    """Starter of workers on this machine, which end when this process does.

    Args:
        folder: Folder of the table; output goes to ``workers.log`` there.
        processes: Processes of the jobs of a worker, which has as many GPUs.
        gpus: Ids of GPUs; workers share one that is named twice. Empty: the CPU.
        workers: Workers on the CPU, which share its threads.
    """

    attached = True

    def __init__(
        self, folder: Path, processes: int = 1, *, gpus: Sequence[str] = (), workers: int = 1
    ) -> None:
        self.folder, self.processes = folder, processes
        self.slots: list[dict[str, Any]] = []
        if processes > 1:
            gpus = list(dict.fromkeys(gpus))
        for start in range(0, len(gpus) - processes + 1, processes):
            self.slots.append({"CUDA_VISIBLE_DEVICES": ",".join(gpus[start : start + processes])})
        if not gpus:
            count = max(1, workers // processes)
            threads = max(1, len(os.sched_getaffinity(0)) // (count * processes))
            threads = int(os.environ.get("OMP_NUM_THREADS", threads))
            self.slots = [{"OMP_NUM_THREADS": str(threads)}] * count
        self.running: dict[int, Worker] = {}
        self.restarts = 0

    def start(self, n: int) -> int:
        """Start up to ``n`` workers and replace those that died; return how many run."""
        for number, slot in enumerate(self.slots[:n]):
            worker = self.running.get(number)
            died = worker is not None and (worker.poll() or 0) < 0
            if worker is None or (died and self.restarts < RESTARTS):
                self.restarts += died
                self.running[number] = self._start(slot)
        return sum(worker.poll() is None for worker in self.running.values())

    def _start(self, slot: dict[str, Any]) -> Worker:
        with open(self.folder / WORKERS_LOG, "ab") as log:
            return subprocess.Popen(
                worker_command(self.folder, self.processes),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **slot, **ends_with_me(signal.SIGTERM)},
                start_new_session=True,
            )

    def stop(self) -> None:
        """Tell the workers to save and end, and wait for them."""
        for worker in self.running.values():
            if worker.poll() is None:
                worker.terminate()
        for worker in self.running.values():
            worker.wait()

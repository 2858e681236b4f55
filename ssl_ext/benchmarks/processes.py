"""Processes of one group that wait without working until they are told what to do."""

from __future__ import annotations

import contextlib
import os
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from ssl_ext.cli.launch import stay_on_loopback

START_METHOD = "spawn"  # a forked process cannot use a GPU that its parent has used
GRACE = 2.0  # seconds for an error to arrive, and for a process to end by itself


class ProcessGroup:
    """``world`` processes, each with the object that ``make(rank, world)`` returns there, in one group.

    A context manager. Whatever goes wrong in one process ends all of them.

    Args:
        make: A function that can be pickled.
        world: Number of processes.
        timeout: Seconds after which an answer, or a collective, is given up.
    """

    def __init__(self, make: Callable[[int, int], Any], world: int, *, timeout: float) -> None:
        self.timeout = timeout
        # They meet in a file: a TCP store would listen on every interface of the machine.
        self.folder = tempfile.TemporaryDirectory()
        meeting = os.path.join(self.folder.name, "store")
        context = mp.get_context(START_METHOD)
        self.connections: list[Connection] = []
        self.processes: list[Any] = []
        for rank in range(world):
            ours, theirs = context.Pipe()
            arguments = (make, rank, world, meeting, timeout, theirs)
            process = context.Process(target=_serve, args=arguments, daemon=True)
            process.start()
            theirs.close()
            self.connections.append(ours)
            self.processes.append(process)

    def __enter__(self) -> ProcessGroup:
        try:
            self._answers(range(len(self.processes)), "to start")
        except BaseException:
            self._kill()
            raise
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is None:
            for connection in self.connections:
                connection.send(None)
            for process in self.processes:
                process.join(GRACE)
        self._kill()

    def ask(self, ranks: Sequence[int], method: str, *arguments: Any) -> list[Any]:
        """Call a method of the objects in these processes at once; what they return, in order.

        Raises:
            RuntimeError: One failed, ended, or did not answer in time.
        """
        for rank in ranks:
            self.connections[rank].send((method, arguments))
        return self._answers(ranks, method)

    def _answers(self, ranks: Sequence[int], what: str) -> list[Any]:
        answers: dict[int, Any] = {}
        waiting = {self.connections[rank]: rank for rank in ranks}
        while waiting:
            ready = wait(list(waiting), self.timeout)
            if not ready:
                raise RuntimeError(
                    f"process {min(waiting.values())} did not answer {what!r} within {self.timeout:g} s"
                )
            for connection in ready:
                rank = waiting.pop(connection)
                done, answers[rank] = _receive(connection)
                if not done:
                    raise RuntimeError(self._story(what, {rank: answers[rank]}, waiting))
        return [answers[rank] for rank in ranks]

    def _story(self, what: str, errors: dict[int, str | None], waiting: dict[Connection, int]) -> str:
        """Why there is no answer: the errors of the processes, or how they ended."""
        # Where one fails, the others do because it is gone; whoever was heard first, all have their say.
        for connection, rank in waiting.items():
            if connection.poll(GRACE):
                done, error = _receive(connection)
                if not done:
                    errors[rank] = error
        story = [f"the processes failed when asked {what!r}"]
        for rank, error in sorted(errors.items()):
            self.processes[rank].join(GRACE)
            status = self.processes[rank].exitcode
            story.append(f"process {rank}, which ended with status {status}: {error or 'no error was left'}")
        return "\n".join(story)

    def _kill(self) -> None:
        for process in self.processes:
            if process.is_alive():
                process.kill()
            process.join()
        for connection in self.connections:
            connection.close()
        self.folder.cleanup()


def _receive(connection: Connection) -> tuple[bool, Any]:
    """Whether a process did what it was asked, and its answer or error; it may be gone."""
    try:
        return connection.recv()
    except (EOFError, ConnectionError):
        return False, None


def backend(world: int) -> str:
    """``'nccl'`` where every process can have a GPU, else ``'gloo'``."""
    return "nccl" if torch.cuda.is_available() and torch.cuda.device_count() >= world else "gloo"


@contextlib.contextmanager
def outside_the_group() -> Iterator[None]:
    """Inside, torch says that there is no process group: a step reaches nobody."""
    with mock.patch.object(dist, "is_initialized", return_value=False):
        yield


def _serve(
    make: Callable[[int, int], Any],
    rank: int,
    world: int,
    meeting: str,
    timeout: float,
    connection: Connection,
) -> None:
    """Life of a process: join the group, then do what is asked until nothing more is."""
    status = 1
    try:
        stay_on_loopback()
        store, limit = dist.FileStore(meeting, world), timedelta(seconds=timeout)
        if backend(world) == "nccl":
            torch.cuda.set_device(rank)
        dist.init_process_group(backend(world), store=store, rank=rank, world_size=world, timeout=limit)
        served = make(rank, world)
        connection.send((True, None))
        while (task := connection.recv()) is not None:
            method, arguments = task
            connection.send((True, getattr(served, method)(*arguments)))
        dist.destroy_process_group()
        status = 0
    except EOFError:
        pass  # whoever asked is gone
    except BaseException:
        connection.send((False, traceback.format_exc()))
    finally:
        # Threads of a group whose other processes are gone would keep this one alive.
        os._exit(status)

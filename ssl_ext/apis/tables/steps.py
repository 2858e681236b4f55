"""One job, started once. Imports neither torch nor MMEngine."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ssl_ext.errors import UserError, sentence
from ssl_ext.processes import ends_with_me

from .jobs import (
    CHECKPOINT,
    DONE,
    FAILED,
    LOG,
    OPEN,
    RUN,
    RUNNING,
    Job,
    State,
    newest_checkpoint,
    read_job,
    read_state,
    write_state,
)  # fmt: skip
from .locks import BEAT, Lock, take_lock
from .slurm import on_nodes

MAX_DEATHS = 10
LOG_TAIL = 20_000
# Outcomes of a step that did not start, besides a final status.
BUSY, WAITS, BLOCKED = "busy", "waits", "blocked"


@dataclass
class Step:
    """A running job: its command and its lock, which the command has inherited."""

    folder: Path
    job: Job
    lock: Lock
    state: State
    child: subprocess.Popen
    log_start: int
    stopped: bool = False

    def stop(self) -> None:
        """Tell the command to save and end."""
        self.stopped = True
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)

    def finish(self) -> str | None:
        """Wait for the command, write the new state and release the lock; return the status.

        None if another process has taken the job over, which only happens to leases of a halted machine.
        """
        while True:
            try:
                code = self.child.wait(None if self.lock.handle is not None else BEAT)
                break
            except subprocess.TimeoutExpired:
                if not self.lock.renew():
                    self.child.kill()
                    self.child.wait()
                    return None
        if not self.lock.renew():
            return None
        self.state = self._ended(code)
        write_state(self.folder, self.state)
        self.lock.release()
        return self.state.status

    def _ended(self, code: int) -> State:
        now = time.time()
        seconds = _seconds(self.state, self.folder, self.job)
        state = replace(self.state, seconds=seconds, since=now, code=code)
        if code == 0:
            if self.job.results is None or (self.folder / self.job.results).exists():
                return replace(state, status=DONE, seconds=self.state.seconds + now - self.state.since)
            return replace(state, status=FAILED, said=f"it wrote no {self.job.results}")
        if self.stopped:
            return replace(state, status=OPEN)
        if code < 0 or code >= 128:
            return counted(replace(state, status=OPEN), self.folder, self.job)
        return replace(state, status=FAILED, said=self._said(code))

    def _said(self, code: int) -> str:
        """The error in the log of this try: a line of a tool, else the last line."""
        path = self.folder / LOG
        with open(path, "rb") as log:
            log.seek(max(self.log_start, path.stat().st_size - LOG_TAIL))
            lines = [line.strip() for line in log.read().decode(errors="replace").splitlines()]
        errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        said = (errors or [line for line in lines if line] or [f"status {code}"])[-1]
        return said[:1000]


def begin(folder: Path, job: Job | None = None) -> Step | str:
    """Start the job in ``folder``, or return why not.

    Returns:
        A started step; ``'done'`` or ``'failed'``; ``'busy'``: another process runs it; ``'waits'`` for
        another job; ``'blocked'`` by a failed one.
    """
    if (status := read_state(folder).status) in (DONE, FAILED):
        return status
    job = job or read_job(folder)
    found = [read_state(folder.parent / name).status for name in job.after]
    if any(status != DONE for status in found):
        return BLOCKED if FAILED in found else WAITS
    lock = take_lock(folder)
    if lock is None:
        return BUSY
    step = None
    try:
        # Read again, now that nobody else writes it.
        state = read_state(folder)
        if state.status == RUNNING:
            # Its process and its worker were killed.
            seconds = _seconds(state, folder, job)
            state = counted(replace(state, status=OPEN, seconds=seconds), folder, job)
            write_state(folder, state)
        if state.status != OPEN:
            return state.status
        try:
            step = _start(folder, read_job(folder), lock, state)
        except (UserError, OSError) as error:
            write_state(folder, replace(state, status=FAILED, since=time.time(), said=sentence(error)))
            return FAILED
        return step
    finally:
        if step is None:
            lock.release()


def _start(folder: Path, job: Job, lock: Lock, state: State) -> Step:
    words = argv(folder, job)
    state = replace(
        state,
        status=RUNNING, tries=state.tries + 1, since=time.time(), code=None, said=None,
        host=socket.gethostname(), slurm=os.environ.get("SLURM_JOB_ID"), progress=progress(folder, job),
    )  # fmt: skip
    write_state(folder, state)
    with open(folder / LOG, "ab") as log:
        log.write(os.fsencode(f"$ {shlex.join(words)}\n"))
        log.flush()
        start = log.tell()
        child = subprocess.Popen(
            words,
            cwd=job.cwd,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=[] if lock.handle is None else [lock.handle],
            # If this process is killed, the command saves and ends.
            env={**os.environ, **ends_with_me(signal.SIGTERM)},
            # Ctrl-C in a terminal goes to the driver only, which tells its workers.
            start_new_session=True,
        )
        return Step(folder, job, lock, state, child, start)


def argv(folder: Path, job: Job) -> list[str]:
    """Words of the command as started on this machine, with a launcher if it has several processes."""
    words = [
        str(newest_checkpoint(folder.parent / word.removeprefix(CHECKPOINT)))
        if word.startswith(CHECKPOINT)
        else word
        for word in job.command
    ]
    if words[0] != "ssl-ext":
        return words
    launcher: Sequence[str] = ()
    if job.processes > 1 and os.environ.get("SLURM_JOB_NUM_NODES", "1") != "1":
        return on_nodes(job.id, words[2:])
    if job.processes > 1:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        launcher = (
            "ssl_ext.cli.launch", "--master_addr=127.0.0.1", f"--master_port={port}",
            f"--nproc_per_node={job.processes}", "-m",
        )  # fmt: skip
    return [sys.executable, "-m", *launcher, "ssl_ext.cli", *words[1:]]


def progress(folder: Path, job: Job) -> int:
    """Time of the newest checkpoint, state of a classifier or result, in ns; 0 if there is none."""
    files = [*(folder / RUN).rglob("*.pth"), *([folder / job.results] if job.results else [])]
    return max((path.stat().st_mtime_ns for path in files if path.exists()), default=0)


def _seconds(state: State, folder: Path, job: Job) -> float:
    """Run time of all tries of a running job; of the last the part up to the newest checkpoint or result."""
    return state.seconds + max(0.0, progress(folder, job) / 1e9 - state.since)


def counted(state: State, folder: Path, job: Job) -> State:
    """Count a death since the last progress; too many of them are a failure."""
    deaths = 1 if progress(folder, job) > state.progress else state.deaths + 1
    if deaths < MAX_DEATHS:
        return replace(state, deaths=deaths)
    said = f"it was killed {deaths} times without writing a checkpoint or result (too little memory?)"
    return replace(state, status=FAILED, deaths=deaths, said=said)

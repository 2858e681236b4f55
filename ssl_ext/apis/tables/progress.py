"""Progress of the jobs behind a cell."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .jobs import DONE, FAILED, LOG, OPEN, RUNNING, Job, State

TAIL = 16_384  # bytes of a log that are read
# Console lines of training (:class:`ssl_ext.engine.hooks.console.ConsoleHook`).
LINE = re.compile(r"^((?:(?:epoch|step) +\d+/\d+  )+).*ETA ([\d:]+)$", re.MULTILINE)
PLACE = re.compile(r"(epoch|step) +(\d+)/(\d+)")


@dataclass(frozen=True)
class Run:
    """The jobs of a cell with one seed.

    Attributes:
        seed: Seed of the cell.
        status: ``'open'``, ``'running'``, ``'done'`` or ``'failed'``.
        words: Stage and progress of a running job, the sentence of a failed one, else empty.
        job: Id of the job that the status is of.
        shared: Ids of all jobs of the cell, the evaluation last.
    """

    seed: int
    status: str
    words: str
    job: str
    shared: tuple[str, ...]


def run_of(
    seed: int, evaluate: str, jobs: Mapping[str, Job], states: Mapping[str, State], folder: Path
) -> Run:
    """Status of the job ``evaluate`` and of those that it waits for; ``folder`` holds the jobs' folders."""
    chain = tuple(chain_of(evaluate, jobs))
    if states[evaluate].status == DONE:
        return Run(seed, DONE, "", evaluate, chain)
    for name in chain:
        if states[name].status == FAILED:
            said = states[name].said or f"{jobs[name].stage} ended with status {states[name].code}"
            return Run(seed, FAILED, said, name, chain)
    for name in chain:
        if states[name].status == RUNNING:
            return Run(seed, RUNNING, progress_of(folder / name, jobs[name], states[name]), name, chain)
    waiting = next(name for name in chain if states[name].status != DONE)
    return Run(seed, OPEN, "", waiting, chain)


def chain_of(name: str, jobs: Mapping[str, Job]) -> list[str]:
    """Ids of a job and of all that it waits for, in the order in which they run."""
    found: dict[str, None] = {}
    for before in jobs[name].after:
        found |= dict.fromkeys(chain_of(before, jobs))
    return [*found, name]


def progress_of(folder: Path, job: Job, state: State) -> str:
    """Stage of a running job with its step and remaining time, or the time since its start."""
    log = log_progress(tail(folder / LOG))
    if log is None:
        return f"{job.stage} for {duration(time.time() - state.since)}"
    share, remaining = log
    return f"{job.stage} {share}, {remaining} left"


def tail(path: Path) -> str:
    """The last 16 KiB of a text file; empty if there is none."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL))
            return file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""


def log_progress(text: str) -> tuple[str, str] | None:
    """Epoch or step, and remaining time, of the last training line of a log; None without such a line.

    >>> log_progress("epoch  3/200  step 50/195  loss 5.012  320 img/s  ETA 26:03:04")
    ('epoch 3 of 200, step 50 of 195', '26 h')
    >>> log_progress("step   500/24000  loss 5.012  ETA 10:00")
    ('step 500 of 24000', '10 min')
    """
    found = LINE.findall(text)
    if not found:
        return None
    places, eta = found[-1]
    words = ", ".join(f"{unit} {number} of {total}" for unit, number, total in PLACE.findall(places))
    seconds = sum(60**power * int(part) for power, part in enumerate(reversed(eta.split(":"))))
    return words, duration(seconds)


def duration(seconds: float) -> str:
    """A duration in its largest fitting unit.

    >>> duration(59), duration(3599), duration(7200), duration(93784)
    ('59 s', '60 min', '2.0 h', '26 h')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 36_000 else f"{seconds / 3600:.0f} h"

"""States of the jobs of a table as text."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from ssl_ext.console import FIRST, LONGEST, screen

from .headings import places
from .jobs import DONE, FAILED, LOG, OPEN, RUNNING, Job, State
from .layout import Box, Layout
from .local import WORKERS_LOG
from .plan import JOBS, Plan, job_folder, read_states
from .progress import chain_of, duration, progress_of

LISTED = 20  # lines for failed, and for running jobs
STATUSES = (DONE, RUNNING, FAILED, OPEN)


def status_text(box: Box) -> str:
    """State of a cell without a figure: the most telling of its runs; ``-`` without runs."""
    found = [status for status in (RUNNING, FAILED, OPEN) if box.of_status(status)]
    return found[0] if found else "no figure" if box.runs else "-"


def counts(layout: Layout) -> dict[str, int]:
    """Number of jobs by state."""
    found = Counter(state.status for state in layout.states.values())
    return {status: found[status] for status in STATUSES}


def counts_text(layout: Layout) -> str:
    """Number of jobs by state and the time left, as a sentence."""
    number = counts(layout)
    left = left_text(layout.jobs, layout.states)
    return f"{len(layout.jobs)} jobs: {', '.join([f'{number[one]} {one}' for one in STATUSES] + left)}."


def left_text(jobs: Mapping[str, Job], states: Mapping[str, State]) -> list[str]:
    """Remaining time with as many jobs at once as now; empty if nothing runs or it is not known yet.

    A job takes the mean time of the finished ones of its config and stage, without any that of its stage; its
    own time so far is subtracted. The result is at least the time of the longest chain of waiting jobs.
    """
    times: dict[tuple[str, ...], list[float]] = {}
    for name, job in jobs.items():
        if states[name].status == DONE:
            for kind in _kinds(job):
                times.setdefault(kind, []).append(states[name].seconds)
    left: dict[str, float] = {}
    for name, job in jobs.items():
        state, chain = states[name], chain_of(name, jobs)
        if state.status not in (OPEN, RUNNING) or any(states[one].status == FAILED for one in chain):
            continue
        known = next((times[kind] for kind in _kinds(job) if kind in times), None)
        if known is None:
            return []
        spent = state.seconds + (time.time() - state.since if state.status == RUNNING else 0.0)
        left[name] = max(0.0, sum(known) / len(known) - spent)
    running = sum(states[name].status == RUNNING for name in left)
    chains = [sum(left.get(one, 0.0) for one in chain_of(name, jobs)) for name in left]
    return [f"about {duration(max(sum(left.values()) / running, *chains))} left"] if running else []


def _kinds(job: Job) -> list[tuple[str, ...]]:
    return [(job.stage, job.config, *job.options), (job.stage,)]


def status_lines(layout: Layout) -> list[str]:
    """Sentences on the number of jobs by state, on failed and running ones, and on cells without runs."""
    runs = [f"{status}: {line}" for status in (FAILED, RUNNING) for line in run_lines(layout, status)]
    return [counts_text(layout), *runs, *left_out_lines(layout)]


def run_lines(layout: Layout, status: str) -> list[str]:
    """Config, options and seeds of the jobs with a status, and what is said of them; at most 20 lines."""
    found = {run.job: run.words for row in layout.boxes for box in row for run in box.of_status(status)}
    groups: dict[tuple[str, str], list[Job]] = {}
    for name, words in found.items():
        job = layout.jobs[name]
        groups.setdefault((" ".join([job.config, *job.options]), words), []).append(job)
    lines = [
        f"{about}, seed{'s' if len(jobs) > 1 else ''} {' '.join(str(job.seed) for job in jobs)}: {words}"
        + (f" Log: {JOBS}/{jobs[0].id}/{LOG}" if status == FAILED else "")
        for (about, words), jobs in groups.items()
    ]
    return [*lines[:LISTED], *([f"{len(lines) - LISTED} more"] if len(lines) > LISTED else [])]


def left_out_lines(layout: Layout) -> list[str]:
    """A sentence for each reason why cells have no runs."""
    without: dict[str, list[tuple[int, int]]] = {}
    for i, row in enumerate(layout.boxes):
        for j, box in enumerate(row):
            if box.note:
                without.setdefault(box.note, []).append((i, j))
    return [f"not run: {note.rstrip('.')}: {places(layout, cells)}." for note, cells in without.items()]


class StatusLines:
    """Prints the number of jobs by state and the progress of running ones; call it as often as you like.

    There is a line after 1.5 seconds, and then one at least 10 and at most about 60 seconds after the one
    before, if it has changed.

    Args:
        folder: Folder of the plan.
        plan: Jobs of a table or a sweep.
        jobs: The jobs by name.
    """

    def __init__(self, folder: Path, plan: Plan, jobs: Mapping[str, Job]) -> None:
        self.folder, self.plan, self.jobs = folder, plan, jobs
        self.due, self.pause, self.said = time.monotonic() + FIRST, LONGEST / 6, ""

    def __call__(self) -> None:
        """Print a line that is due."""
        if time.monotonic() < self.due:
            return
        self.due, self.pause = time.monotonic() + self.pause, min(2 * self.pause, LONGEST)
        states = read_states(self.folder, self.plan)
        number = Counter(state.status for state in states.values())
        running = [
            progress_of(job_folder(self.folder, name), self.jobs[name], state)
            for name, state in states.items()
            if state.status == RUNNING
        ]
        counts = [f"{number[status]} {status}" for status in STATUSES if number[status]]
        counts += left_text(self.jobs, states)
        said = f"{len(states)} jobs: {'; '.join([', '.join(counts), *running[:3]])}"
        if said != self.said:
            screen.say(said)
            self.said = said


class Tail:
    """Prints what workers write to ``workers.log`` from now on."""

    def __init__(self, folder: Path, console: Console) -> None:
        self.path, self.console = folder / WORKERS_LOG, console
        self.read = self.path.stat().st_size if self.path.exists() else 0

    def __call__(self) -> None:
        """Print new lines."""
        if not self.path.exists():
            return
        with open(self.path, "rb") as log:
            log.seek(self.read)
            lines = log.read().rpartition(b"\n")[0]
        if lines:
            self.read += len(lines) + 1
            self.console.print(lines.decode(errors="replace"), soft_wrap=True)

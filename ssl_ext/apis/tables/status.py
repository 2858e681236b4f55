"""States of the jobs of a table as text."""

from __future__ import annotations

from .headings import places
from .jobs import DONE, FAILED, LOG, OPEN, RUNNING, Job
from .layout import Box, Layout
from .plan import JOBS

LISTED = 20  # lines for failed, and for running jobs
STATUSES = (DONE, RUNNING, FAILED, OPEN)


def status_text(box: Box) -> str:
    """State of a cell without a figure: the most telling of its runs; ``-`` without runs."""
    found = [status for status in (RUNNING, FAILED, OPEN) if box.of_status(status)]
    return found[0] if found else "no figure" if box.runs else "-"


def counts(layout: Layout) -> dict[str, int]:
    """Number of jobs by state."""
    running = {run.job for row in layout.boxes for box in row for run in box.of_status(RUNNING)}
    found = dict.fromkeys(STATUSES, 0)
    for name, state in layout.states.items():
        status = OPEN if state.status == RUNNING and name not in running else state.status
        found[status] += 1
    return found


def counts_text(layout: Layout) -> str:
    """Number of jobs by state, as a sentence."""
    number = counts(layout)
    return f"{len(layout.jobs)} jobs: " + ", ".join(f"{number[one]} {one}" for one in STATUSES) + "."


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

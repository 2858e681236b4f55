"""Time and memory of a planned table: each distinct training is measured once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures.process import BrokenProcessPool

from ssl_ext.apis.report.grid import Grid
from ssl_ext.errors import UserError
from ssl_ext.processes import in_a_new_process

from .estimate import Measured, measure
from .jobs import DONE, Job, State
from .plan import Cell, Plan
from .progress import chain_of, duration

MIB = 2**20
NOT_INCLUDED = (
    "Times are for one process on this machine. The computation of features is included; the training of "
    "probes and fine-tuned networks, and the communication between processes, are not."
)


def estimate_table(
    plan: Plan,
    jobs: Mapping[str, Job],
    states: Mapping[str, State],
    say: Callable[[str], object],
    switches: Mapping[str, bool] | None = None,
) -> list[Grid]:
    """Measure each distinct training of a plan, seeds aside, in a process of its own.

    ``switches`` are those of every training (:func:`.estimate.measure`).

    Returns:
        Time and memory of each training, and hours of each cell.
    """
    groups: dict[tuple[str, ...], list[Job]] = {}
    for name in plan.jobs:
        if is_training(jobs[name]):
            groups.setdefault((jobs[name].command[2], *jobs[name].options), []).append(jobs[name])
    found: dict[str, Measured | str] = {}
    for number, ((config, *options), members) in enumerate(groups.items(), start=1):
        say(f"{number} of {len(groups)}: {' '.join([members[0].config, *options])}")
        one = _measured(config, options, switches or {})
        found.update((job.id, one) for job in members)
    return [trainings_grid(list(groups.values()), found, states), cells_grid(plan, jobs, found)]


def is_training(job: Job) -> bool:
    """Tell if a job trains with ``ssl-ext train``."""
    return job.command[:2] == ["ssl-ext", "train"]


def _measured(config: str, options: list[str], switches: Mapping[str, bool]) -> Measured | str:
    """The measurements, or why there are none."""
    try:
        return in_a_new_process(measure, config, options, time.time(), **switches)
    except UserError as error:
        return str(error)
    except BrokenProcessPool:
        return "the process was killed, perhaps because memory was short"


def trainings_grid(
    groups: list[list[Job]], found: Mapping[str, Measured | str], states: Mapping[str, State]
) -> Grid:
    """A row for each distinct training; totals are of runs that are not done."""
    rows, notes, total = [], [], 0.0
    on_gpu = any(isinstance(one, Measured) and one.device for one in found.values())
    for members in groups:
        one, about = found[members[0].id], [members[0].config, " ".join(members[0].options)]
        left = sum(states[job.id].status != DONE for job in members)
        if isinstance(one, str):
            notes.append(f"{' '.join(about).strip()}: {one}")
            rows.append([*about, *["-"] * (4 + on_gpu), str(left), "-"])
            continue
        total += left * one.training
        memory = f"{(one.device or one.resident) / MIB:,.0f}"
        largest = [f"{one.largest_batch:,}" if one.largest_batch else "-"] if on_gpu else []
        cells = [f"{one.steps:,}", f"{1000 * one.step:,.1f}", hours(one.training), memory, *largest]
        rows.append([*about, *cells, str(left), hours(left * one.training)])
    header = ["config", "options", "steps", "ms a step", "h a run", "MiB on the GPU" if on_gpu else "MiB"]
    header += ["largest batch"] * on_gpu + ["runs left", "h left"]
    notes.append(f"All runs that are left, one after the other: {duration(total)}.")
    if not on_gpu:
        notes.append("MiB: peak resident memory of the process, libraries and data included.")
    return Grid("Trainings, from the first steps of each", header, rows, 2, notes)


def cells_grid(plan: Plan, jobs: Mapping[str, Job], found: Mapping[str, Measured | str]) -> Grid:
    """Hours of one seed of each cell."""
    rows: dict[tuple[str, ...], dict[str, str]] = {}
    for cell in plan.cells:
        row = rows.setdefault(tuple(str(cell.at[axis]) for axis in plan.rows), {})
        row.setdefault(", ".join(str(cell.at[axis]) for axis in plan.columns), _hours(cell, jobs, found))
    columns = list(dict.fromkeys(name for row in rows.values() for name in row))
    lines = [[*head, *(row.get(name, "-") for name in columns)] for head, row in rows.items()]
    notes = [
        NOT_INCLUDED,
        "A cell has the time of all its trainings; the total counts a training that cells share once.",
    ]
    return Grid("Hours of one seed of each cell", [*plan.rows, *columns], lines, len(plan.rows), notes)


def _hours(cell: Cell, jobs: Mapping[str, Job], found: Mapping[str, Measured | str]) -> str:
    if cell.evaluate is None:
        return "-"
    measured = [found[name] for name in chain_of(cell.evaluate, jobs) if name in found]
    known = [one for one in measured if isinstance(one, Measured)]
    if not known or len(known) < len(measured):
        return "?"
    features = 0.0 if is_training(jobs[cell.evaluate]) else known[-1].features
    return hours(sum(one.training for one in known) + features)


def hours(seconds: float) -> str:
    """Hours with two significant digits.

    >>> hours(36), hours(5000), hours(500_000)
    ('0.010', '1.4', '139')
    """
    value = seconds / 3600
    return f"{value:,.{sum(value < limit for limit in (10, 1, 0.1))}f}"

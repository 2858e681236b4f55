"""The plan of a table: its cells, and the jobs that fill them. Imports neither torch nor MMEngine."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from ssl_ext.errors import UserError
from ssl_ext.files import write_text
from ssl_ext.json_files import read_json

from .jobs import OPEN, RUNNING, Job, State, read_job, read_state, write_job
from .locks import is_held

PLAN, JOBS = "plan.json", "jobs"


@dataclass(frozen=True)
class Cell:
    """One cell of a table for one seed.

    Attributes:
        at: Value of each axis.
        seed: Seed of pretraining and evaluation.
        published: The figure as printed; None for "-".
        metric: Name of the metric in the result row.
        config: Stem of the config; None for a cell without one.
        options: Overrides of the config.
        pretrain: Id of the pretraining whose weights are evaluated; None for random or given weights.
        evaluate: Id of the job whose ``results`` file has the cell's figure; None for a cell that is not run.
        select: Fields (:class:`ssl_ext.evaluation.ResultRow`) of the rows of the cell in that file; several
            rows (label draws) give one figure, their mean. Empty for a detector: the last row of
            ``detection.json`` has the metric. ``protocol='log'``: the metric is a key of the log of
            ``evaluate``, a training, after ``epoch``.
        recipes: Recipes of these rows: the table's first, then ``'own'``; empty if there is one only.
        note: Why the cell is not run, one sentence.
    """

    at: dict[str, Any]
    seed: int
    published: float | None
    metric: str
    config: str | None = None
    options: list[str] = field(default_factory=list)
    pretrain: str | None = None
    evaluate: str | None = None
    select: dict[str, Any] = field(default_factory=dict)
    recipes: list[str] = field(default_factory=list)
    note: str | None = None


@dataclass(frozen=True)
class Plan:
    """The cells of a table row by row (all seeds of a cell follow each other), and their jobs.

    Attributes:
        name: Name of the table, and of its folder.
        file: Path of the table file; None for a grid of the command line.
        rows, columns: Names of the axes of rows and columns.
        source: Publication of the figures.
        unit: ``'%'`` or ``''``.
        recipes: Recipes to whose rows the published figures may be compared.
        seeds: Seeds of every cell.
        cells: All cells, those that are not run included.
        jobs: Ids of the jobs in the order in which they are started: a job after those that it waits for,
            the first seed of all cells first.
        processes: Numbers of processes of the jobs that have several, by id.
        reference: Values, by row axis, of the row that others are compared with; empty for the first row.
        notes: Sentences about the whole table, for example about numbers of processes.
    """

    name: str
    file: str | None
    rows: list[str]
    columns: list[str]
    source: str
    unit: str
    recipes: list[str]
    seeds: list[int]
    cells: list[Cell]
    jobs: list[str]
    processes: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    reference: dict[str, Any] = field(default_factory=dict)


class Starter(Protocol):
    """Starts workers of a planned table, each with :func:`worker_command`.

    Made with the table's folder, the number of ``processes`` of the jobs that its workers run, and what it
    needs itself (GPUs, arguments of sbatch).

    Attributes:
        attached: True if the workers end with this process, which then waits for them.
    """

    attached: bool

    def start(self, n: int) -> int:
        """Top up to ``n`` workers; return how many run or are queued.

        A worker that ended because nothing is left to do (status 0) or was stopped (143) is not replaced; one
        that died is. An attached starter is called about once a second until it returns 0.
        """

    def stop(self) -> None:
        """Tell the workers to save and end; return after they have ended."""


def worker_command(folder: Path, processes: int, *, wait: bool = True) -> list[str]:
    """Words that start a worker for the jobs of ``processes`` processes of a table.

    SIGTERM and SIGUSR1 reach its running job, which saves; the worker then ends with status 143. It ends with
    status 0 if no job is left that it could run now or, with ``wait``, after a job that is running elsewhere.
    """
    words = [sys.executable, "-m", "ssl_ext.cli", "table", "--work", str(folder)]
    return [*words, "--processes", str(processes), *([] if wait else ["--no-wait"])]


def job_folder(folder: Path, job: str) -> Path:
    """Folder of a job of the table in ``folder``."""
    return folder.parent / JOBS / job


def write_plan(folder: Path, plan: Plan, jobs: dict[str, Job]) -> None:
    """Write the jobs, then ``plan.json``; jobs that exist are kept."""
    for name, job in jobs.items():
        write_job(job_folder(folder, name), job)
    write_text(folder / PLAN, json.dumps(asdict(plan)))


def read_plan(folder: Path) -> Plan:
    """Read the plan of a table's folder.

    Raises:
        UserError: The file is missing or damaged.
    """
    if not (folder / PLAN).exists():
        others = sorted(path.name for path in folder.parent.glob(f"{folder.name}-*"))
        raise UserError(
            f"The table '{folder.name}' was not started in '{folder.parent}'"
            + (
                f" with these --only, --seeds and --cfg-options (others: {', '.join(others)})."
                if others
                else "."
            )
        )
    return read_json(folder / PLAN, Plan, "a plan of tools/table.py")


def read_jobs(folder: Path, plan: Plan) -> dict[str, Job]:
    """Read the jobs of a plan, by id."""
    return {name: read_job(job_folder(folder, name)) for name in plan.jobs}


def read_states(folder: Path, plan: Plan) -> dict[str, State]:
    """Read the states of the jobs of a plan, by id; killed jobs are open."""
    places = {name: job_folder(folder, name) for name in plan.jobs}
    return {name: unless_killed(read_state(place), place) for name, place in places.items()}


def unless_killed(state: State, folder: Path) -> State:
    """The state of the job in ``folder``; open instead of running if nobody holds the job's lock."""
    return replace(state, status=OPEN) if state.status == RUNNING and not is_held(folder) else state

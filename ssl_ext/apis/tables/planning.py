"""Planning of a table: its cells and jobs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ssl_ext.config.papers import Cell as TableCell
from ssl_ext.config.papers import Table
from ssl_ext.errors import UserError
from ssl_ext.evaluation.metric_names import check_metric

from .jobs import Job
from .plan import JOBS, Cell, Plan
from .planner import Planner


@dataclass
class Planned:
    """A plan, its jobs by id, and the data of each job: config key and settings of the data set."""

    plan: Plan
    jobs: dict[str, Job]
    data: dict[str, list[tuple[str, Mapping[str, Any]]]] = field(default_factory=dict)


def plan_table(
    table: Table,
    name: str,
    out: str | os.PathLike,
    *,
    file: str | os.PathLike | None = None,
    seeds: Sequence[int] | None = None,
    only: Sequence[str] = (),
    options: Sequence[str] = (),
    train_args: Sequence[str] = (),
    most_processes: int | None = 1,
) -> Planned:
    """Plan the cells and jobs of a table.

    Trainings are equal if their config's content (after overrides), seed, initial weights, numbers of
    processes and arguments are. Evaluations of one network that differ in numbers of labels and in modes
    alone are one job.

    Args:
        table: The cells.
        name: Name of the table, and of its folder in ``out``.
        out: Folder of all tables.
        file: The table's file.
        seeds: Default: the table's.
        only: ``axis=value,value``: only cells with these values.
        options: Overrides of the config of every cell; not of detectors, whose keys differ.
        train_args: More words of the training command.
        most_processes: Most processes of a training; a config for more has larger batches instead. None: any.

    Raises:
        UserError: A config that is missing or wrong, an unknown axis, value or protocol.
    """
    planner = Planner(Path(out).resolve() / JOBS, list(options), list(train_args), most_processes)
    chosen = _only(table.cells, only)
    every = list(table.seeds if seeds is None else seeds)
    if not every or len(set(every)) < len(every):
        raise UserError(f"--seeds {every}: give at least one seed, each once.")
    for cell in chosen:
        if cell.config and (cell.evaluate or {}).get("protocols") != "log":
            check_metric(cell.metric, f"METRIC of {name}")
    cells: dict[tuple[int, int], Cell] = {}
    # The first seed of all cells first.
    for seed in every:
        for number, cell in enumerate(chosen):
            cells[number, seed] = planner.add(cell, seed, table)
    planner.finish(table.draws)
    plan = Plan(
        name=name,
        file=None if file is None else str(Path(file).resolve()),
        rows=list(table.rows),
        columns=list(table.columns),
        source=table.source,
        unit=table.unit,
        recipes=list(table.recipes),
        seeds=every,
        cells=[
            planner.placed(cells[number, seed]) for number in range(len(chosen)) for seed in every
        ],
        jobs=list(planner.jobs),
        processes={name: job.processes for name, job in planner.jobs.items() if job.processes > 1},
        notes=list(planner.notes),
        reference=dict(table.reference or {}),
    )  # fmt: skip
    return Planned(plan, planner.jobs, planner.data)


def reference_row(table: Table, texts: Sequence[str]) -> dict[str, str]:
    """Values, by row axis, of ``axis=value`` texts, which some row of the table must have.

    Raises:
        UserError: There is no such axis or row.
    """
    chosen = dict(text.partition("=")[::2] for text in texts)
    rows = [{axis: str(cell.at[axis]) for axis in table.rows} for cell in table.cells]
    if not any(chosen.items() <= row.items() for row in rows):
        known = dict.fromkeys(" ".join(f"{axis}={value}" for axis, value in row.items()) for row in rows)
        raise UserError(f"--reference {' '.join(texts)}: the table has no such row, but {'; '.join(known)}.")
    return chosen


def _only(cells: Sequence[TableCell], only: Sequence[str]) -> Sequence[TableCell]:
    for text in only:
        axis, equals, values = text.partition("=")
        known = [str(cell.at[axis]) for cell in cells if axis in cell.at]
        if not equals or not known:
            axes = ", ".join(cells[0].at) if cells else ""
            raise UserError(f"--only '{text}': give axis=value,value with one of the axes {axes}.")
        wanted = values.split(",") if values not in known else [values]
        if wrong := [value for value in wanted if value not in known]:
            raise UserError(f"--only {axis}={wrong[0]}: the table has {', '.join(dict.fromkeys(known))}.")
        cells = [cell for cell in cells if str(cell.at[axis]) in wanted]
    if not cells:
        raise UserError(f"--only {' '.join(only)}: the table has no such cell.")
    return cells

"""The cells of a table from its jobs' states and result files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ssl_ext.apis.compare.models import image_differences, load_scores
from ssl_ext.apis.compare.sides import Pair
from ssl_ext.apis.report.references import Reference
from ssl_ext.apis.report.rows import find_results
from ssl_ext.config.papers import Cell as PaperCell
from ssl_ext.config.papers import read_table
from ssl_ext.errors import UserError
from ssl_ext.evaluation import Condition, ResultRow, Stat
from ssl_ext.evaluation.identity import data_name
from ssl_ext.evaluation.significance import seeds_interval
from ssl_ext.json_files import read_json
from ssl_ext.visualization.scalars import figure_of_epoch

from .jobs import DONE, RUN, STATE, Job, State, read_job, read_state
from .layout import Box, Ends, Figure, Layout, compared
from .plan import JOBS, Cell, Plan, job_folder, read_plan, unless_killed
from .planner import CURVE, DETECTION
from .progress import run_of

DETECTIONS = "detection.json"
NOT_COMPARED = {
    DETECTION: "the detector's config and data are not compared with the publication's",
    CURVE: "figures of the log, such as times, are those of this machine",
}
"""Protocols without the facts of a result row."""


class Scores:
    """Reads a table's folder, again and again; files that did not change are read once.

    Args:
        folder: The table's folder, with ``plan.json``.
        reference: Instead of the plan's, values of the row that others are compared with.
    """

    def __init__(self, folder: Path, reference: Mapping[str, Any] | None = None) -> None:
        self.folder, self.reference = folder, reference
        self._rows: dict[Path, tuple[int, list[ResultRow]]] = {}
        self._reasons: dict[str, list[str]] = {}
        self._intervals: dict[str, Ends] = {}
        self._papers: dict[str, PaperCell] | None = None
        # Epoch of the figures: the last, unless the publication's is the best on validation.
        self._which = "last"
        self._log: dict[tuple[Path, str, int], float] = {}
        self._jobs: dict[str, Job] = {}
        self._states: dict[str, tuple[int, State]] = {}

    def read(self) -> Layout:
        """Lay out the table from what is there now.

        Raises:
            UserError: The folder has no plan, or a file is damaged.
        """
        plan = read_plan(self.folder)
        if self.reference is not None:
            plan = replace(plan, reference=dict(self.reference))
        jobs = {name: self._job(name) for name in plan.jobs}
        states = {name: self._state(name) for name in plan.jobs}
        groups: dict[tuple[str, ...], dict[str, list[Cell]]] = {}
        for cell in plan.cells:
            row = tuple(str(cell.at[axis]) for axis in plan.rows)
            words = ", ".join(str(cell.at[axis]) for axis in plan.columns)
            groups.setdefault(row, {}).setdefault(words, []).append(cell)
        names = list(dict.fromkeys(words for row in groups.values() for words in row))
        boxes = [
            [self._box(plan, row.get(name, []), jobs, states) for name in names] for row in groups.values()
        ]
        spread = [(j, recipe) for j in range(len(names)) for recipe in _recipes([row[j] for row in boxes])]
        layout = Layout(
            plan,
            heads=list(groups),
            columns=[(names[j], recipe) for j, recipe in spread],
            boxes=[[row[j] for j, _ in spread] for row in boxes],
            jobs=jobs,
            states=states,
        )
        return compared(layout, self._over_images)

    def _job(self, name: str) -> Job:
        if name not in self._jobs:
            self._jobs[name] = read_job(job_folder(self.folder, name))
        return self._jobs[name]

    def _state(self, name: str) -> State:
        folder = job_folder(self.folder, name)
        try:
            stamp = (folder / STATE).stat().st_mtime_ns
        except FileNotFoundError:
            return State()
        if self._states.get(name, (0, None))[0] != stamp:
            self._states[name] = stamp, read_state(folder)
        return unless_killed(self._states[name][1], folder)

    def _box(
        self, plan: Plan, cells: Sequence[Cell], jobs: Mapping[str, Job], states: Mapping[str, State]
    ) -> Box:
        if not cells:
            return Box({}, "", "", [], {}, [], "not planned")
        place, first = self.folder.parent / JOBS, cells[0]
        runs = []
        found: dict[str, dict[int, list[ResultRow]]] = {}
        for cell in cells:
            if cell.evaluate is None:
                continue
            runs.append(run_of(cell.seed, cell.evaluate, jobs, states, place))
            if runs[-1].status == DONE:
                for row in self._selected(place / cell.evaluate, jobs[cell.evaluate].results, cell):
                    found.setdefault(row.recipe, {}).setdefault(cell.seed, []).append(row)
        figures = {recipe: self._figure(plan, first, recipe, by_seed) for recipe, by_seed in found.items()}
        note = None if runs else first.note or "no config"
        protocol = first.select.get("protocol", "")
        return Box(first.at, first.metric, protocol, first.recipes, figures, runs, note)

    def _selected(self, job: Path, results: str | None, cell: Cell) -> list[ResultRow]:
        """Rows of a cell in a job's result file, under every recipe, that have its metric."""
        select = {name: value for name, value in cell.select.items() if name != "recipe"}
        if select.get("protocol") == CURVE:
            return [self._logged(job / RUN, cell)]
        path = job / str(results)
        return [
            row
            for row in self._read(path)
            if cell.metric in row.last and all(getattr(row, name) == value for name, value in select.items())
        ]

    def _read(self, path: Path) -> list[ResultRow]:
        stamp = path.stat().st_mtime_ns
        if path not in self._rows or self._rows[path][0] != stamp:
            rows = _detections(path) if path.name == DETECTIONS else [*find_results([path])[0].rows]
            self._rows[path] = stamp, rows
        return self._rows[path][1]

    def _logged(self, run: Path, cell: Cell) -> ResultRow:
        """A figure of a training's log as a result row; NaN if it was not logged."""
        key = run, cell.metric, cell.select["epoch"]
        if key not in self._log:
            try:
                self._log[key] = figure_of_epoch(run, *key[1:])
            except (FileNotFoundError, ValueError):
                self._log[key] = math.nan
        metrics = {cell.metric: self._log[key]}
        return ResultRow("training", CURVE, metrics, metrics, {}, {}, cell.seed)

    def _figure(
        self, plan: Plan, cell: Cell, recipe: str, by_seed: Mapping[int, Sequence[ResultRow]]
    ) -> Figure:
        rows = [row for found in by_seed.values() for row in found]
        if self._papers is None:
            table = read_table(plan.file) if plan.file else None
            self._papers = {str(dict(paper.at)): paper for paper in (table.cells if table else [])}
            self._which = (table and table.which) or self._which
        values = {
            seed: float(np.mean([getattr(row, self._which)[cell.metric] for row in found]))
            for seed, found in by_seed.items()
        }
        if len(rows) == 1:
            stat = Stat.of_rows(rows, cell.metric, self._which)
        else:
            stat = Stat.of([*values.values()])._replace(interval=seeds_interval([*values.values()]))
        paper = self._papers.get(str(cell.at))
        if paper is None or paper.printed == "-":
            return Figure(recipe, values, rows, stat)
        return Figure(recipe, values, rows, stat, paper.printed, self._unlike(plan, paper, rows))

    def _unlike(self, plan: Plan, paper: PaperCell, rows: Sequence[ResultRow]) -> list[str]:
        """Differences of the rows from the publication."""
        folder = Path(str(plan.file)).parent
        found: dict[str, None] = {}
        for row in rows:
            if row.protocol in NOT_COMPARED:
                found[NOT_COMPARED[row.protocol]] = None
                continue
            about = [row.source.get(key) for key in ("network", "pretraining", "checkpoint", "data")]
            key = str([paper, row.recipe, row.method, row.protocol, about])
            if key not in self._reasons:
                condition = Condition.from_row(row)
                reference = Reference(0.0, paper.metric, plan.source, paper, condition, plan.recipes, folder)
                try:
                    self._reasons[key] = reference.differences(row, self._which)
                except UserError as error:
                    self._reasons[key] = [str(error)]
            found |= dict.fromkeys(self._reasons[key])
        return list(found)

    def _over_images(self, first: Figure, second: Figure, metric: str) -> Ends:
        """Interval of a paired bootstrap over images; None without stored scores."""
        key = str([[row.predictions for row in one.rows] for one in (first, second)]) + metric
        if key not in self._intervals:
            row = first.rows[0]
            pair = Pair(data_name(row), Condition.from_row(row), first.rows, second.rows)
            try:
                found = image_differences(load_scores(pair), self._which, [metric])
            except UserError:
                found = []
            self._intervals[key] = found[0][3] if found else None
        return self._intervals[key]


def _recipes(boxes: Sequence[Box]) -> list[str | None]:
    """Recipes of the figures of a column, planned ones first; None without figures."""
    found = dict.fromkeys(name for box in boxes for name in (*box.recipes, *box.figures))
    return [*found] or [None]


def _detections(path: Path) -> list[ResultRow]:
    """The last measurement of a ``detection.json`` as a result row."""
    from ssl_ext.detection.evaluation_hook import Table

    row = read_json(path, Table, "a detection.json of training").rows[-1]
    return [ResultRow("detector", DETECTION, row, row, {}, {}, int(row.get("seed", 0)))]

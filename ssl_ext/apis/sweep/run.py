"""Train and evaluate every point of a grid over config keys: a table made of the command line."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log

from ssl_ext.apis.tables.jobs import DONE, FAILED, LOG, RUN, State
from ssl_ext.apis.tables.plan import JOBS, Cell, read_states
from ssl_ext.apis.tables.run import Outcome, plan_in, run_workers
from ssl_ext.apis.tables.starters import Workers, choose_workers
from ssl_ext.apis.tables.status import StatusLines
from ssl_ext.config.load import load_config, parse_options
from ssl_ext.config.networks import build_model
from ssl_ext.config.papers import Cell as TableCell
from ssl_ext.config.papers import Table
from ssl_ext.config.training import REQUIRED
from ssl_ext.errors import UserError
from ssl_ext.evaluation import read_results
from ssl_ext.files import check_writable, write_text
from ssl_ext.names import DEFAULT_PROTOCOLS as PROTOCOLS
from ssl_ext.visualization import save_figure, sweep_lines

from .grid import Axis, Setting, parse_axis, settings_of, value_of
from .points import Point, accuracy_lines

OWN_SWITCHES = ("--work-dir", "--resume", "--seed", "--cfg-options")


def sweep(
    config: str | os.PathLike,
    grid: Sequence[str],
    *,
    work_dir: str | os.PathLike | None = None,
    protocols: Sequence[str] = PROTOCOLS,
    seeds: Sequence[int] = (0,),
    options: Sequence[str] = (),
    train_args: Sequence[str] = (),
    workers: Workers | None = None,
    show: Callable[..., None] | None = None,
) -> list[Point]:
    """Train and evaluate every point of a grid, as a table does (:mod:`ssl_ext.apis.tables`).

    A failure affects one point only. Finished trainings and evaluations are skipped, unfinished ones resumed,
    and failed ones tried again.
    ``sweep.json`` is written after every point. For one or two axes there is a figure ``accuracy_<protocol>``
    over the first axis, with a line for each value of the second.

    Args:
        config: Path of a config file.
        grid: Axes as ``'key=a,b,c'``, or ``'key1+key2=a,b,c'`` for keys that take the same value.
        work_dir: Default ``work_dirs/<config name>/sweep``. It has a link to the training of each point.
        protocols: ``'knn'`` and ``'linear'``.
        seeds: Every point is trained once with each of them.
        options: Config keys to override at all points, as ``'key=value'``.
        train_args: More arguments of the training tool.
        workers: Where the points run; default: one after another on the CPU, or one on each GPU of this
            machine. Workers in Slurm are submitted only; the same call later reads what is done.
        show: Called with the plan, its jobs, their states and training images; nothing is written or run.

    Returns:
        All points, in the order of the grid; none with ``show``.

    Raises:
        UserError: Bad input, found before anything is written.
    """
    if wrong := [name for name in protocols if name not in PROTOCOLS]:
        raise UserError(f"protocols: {', '.join(wrong)} unknown; allowed are {', '.join(PROTOCOLS)}.")
    if not protocols:
        raise UserError(f"protocols: give at least one of {', '.join(PROTOCOLS)}.")
    if own := [arg for arg in train_args if _is_own(arg)]:
        raise UserError(f"{own[0]} is set by the sweep (which has --work-dir, --seeds and --cfg-options).")
    axes = [parse_axis(text) for text in grid]
    base = load_config(config, parse_options(options), required=(*REQUIRED, "evaluation_dataset"))
    _check_keys(base, axes)
    folder = Path(work_dir or Path("work_dirs") / Path(config).stem / "sweep")
    settings = settings_of(axes, seeds)
    check_writable(folder, "--work-dir")
    once = [setting for setting in settings if setting.seed == seeds[0]]
    for setting in once:
        build_model(load_config(config, parse_options([*options, *setting.options])))
    cells = [
        TableCell(
            {**dict(setting.values), "protocol": name}, None, "acc", str(config), setting.options,
            dict(protocols=name),
        )
        for setting in once
        for name in protocols
    ]  # fmt: skip
    table = Table(
        f"Sweep of {Path(config).stem}", "%", cells, rows=[axis.name for axis in axes], columns=["protocol"],
        seeds=seeds, folder=Path.cwd(),
    )  # fmt: skip
    workers = workers or choose_workers()
    outcome = plan_in(
        table, "table", folder, options=options, train_args=train_args, retry_failed=True,
        most_processes=workers.most_processes, dry_run=show is not None,
    )  # fmt: skip
    if show:
        show(outcome.planned.plan, outcome.planned.jobs, outcome.states, outcome.images)
        return []
    about = dict(
        config=str(config),
        options=list(options),
        train_args=list(train_args),
        protocols=list(protocols),
        axes=[axis.name for axis in axes],
    )
    points = _Points(folder, settings, outcome, about)
    status = StatusLines(outcome.folder, outcome.planned.plan, outcome.planned.jobs)
    run_workers(outcome, workers.make, workers.n, [points, status])
    if len(axes) <= 2:
        for protocol in protocols:
            if lines := accuracy_lines(points.points, protocol):
                legend = axes[1].label.replace("+", "\n+") if len(axes) == 2 else None
                words = f"{'kNN' if protocol == 'knn' else protocol} accuracy (%)"
                figure = sweep_lines(lines, x_label=axes[0].label, legend=legend, label=words)
                save_figure(figure, folder / f"accuracy_{protocol}")
    return points.points


class _Points:
    """The points of a sweep and ``sweep.json``; called to read what is done."""

    def __init__(
        self, folder: Path, settings: Sequence[Setting], outcome: Outcome, about: dict[str, Any]
    ) -> None:
        self.folder, self.outcome, self.about = folder, outcome, about
        cells: dict[tuple[Any, ...], list[Cell]] = {}
        for cell in outcome.planned.plan.cells:
            *texts, _ = cell.at.values()
            cells.setdefault((*texts, cell.seed), []).append(cell)
        self.points, self.cells = [], []
        for setting in settings:
            values = dict(setting.values)
            key = (*values.values(), setting.seed)
            found = cells[key]
            link = folder / setting.folder
            if link.is_symlink():
                # It may be of other options.
                link.unlink()
            elif link.exists():
                raise UserError(
                    f"'{folder}' has a sweep of an older version: give another --work-dir, or delete it."
                )
            link.symlink_to(Path(JOBS, str(found[0].pretrain), RUN))
            log = folder / JOBS / str(found[0].pretrain) / LOG
            shown = {name: value_of(text) for name, text in values.items()}
            self.points.append(Point(shown, setting.seed, str(link), str(log)))
            self.cells.append(found)
        self.statuses: list[str] = []

    def __call__(self) -> None:
        """Read the states; log points that ended and write ``sweep.json`` if there are any."""
        states = read_states(self.outcome.folder, self.outcome.planned.plan)
        if (statuses := [state.status for state in states.values()]) == self.statuses:
            return
        self.statuses = statuses
        for number, (point, cells) in enumerate(zip(self.points, self.cells, strict=True), start=1):
            before = point.status
            self._read(point, cells, states)
            if point.status != before:
                name = Path(point.folder).name
                print_log(f"Point {number} of {len(self.points)}, {name}: {point.status}", logger="current")
        summary = dict(self.about, points=[asdict(point) for point in self.points])
        write_text(self.folder / "sweep.json", json.dumps(summary, indent=2, default=str))

    def _read(self, point: Point, cells: Sequence[Cell], states: Mapping[str, State]) -> None:
        jobs = dict.fromkeys([str(cells[0].pretrain), *(str(cell.evaluate) for cell in cells)])
        if failed := next((name for name in jobs if states[name].status == FAILED), None):
            stage = failed.partition("-")[0].replace("pretrain", "training")
            point.status, point.log = "failed", str(self.folder / JOBS / failed / LOG)
            point.reason = f"{stage} exited with status {states[failed].code}: {states[failed].said}"
        elif point.status != "done" and all(states[name].status == DONE for name in jobs):
            for cell in cells:
                job = self.outcome.planned.jobs[str(cell.evaluate)]
                rows = read_results(self.folder / JOBS / job.id / str(job.results))
                row = next(row for row in rows if row.protocol == cell.select["protocol"])
                point.last[row.protocol], point.best[row.protocol] = row.last, row.best
            point.status = "done"


def _check_keys(config: Config, axes: Sequence[Axis]) -> None:
    for key in (key for axis in axes for key in axis.keys):
        place: Any = config
        *parents, _ = key.split(".")
        for part in parents:
            inside = isinstance(place, list) and part.isdigit() and int(part) < len(place)
            if not inside and part not in place:
                raise UserError(f"The config has no '{part}', so {key} cannot be set.")
            place = place[int(part)] if inside else place[part]


def _is_own(argument: str) -> bool:
    # argparse accepts abbreviated switches.
    name = argument.partition("=")[0]
    return len(name) > 2 and any(switch.startswith(name) for switch in OWN_SWITCHES)

"""Plan a table, check it, and have workers run it."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from ssl_ext.config.papers import Table, find_table, read_table
from ssl_ext.errors import UserError, sentence

from .checks import check_data, check_place, missing_data, without_missing
from .estimates import estimate_table
from .jobs import DONE, FAILED, OPEN, State, digest, read_state, write_state
from .live import LiveTable, show_table
from .locks import take_lock
from .overview import print_plan
from .plan import PLAN, Plan, Starter, job_folder, read_plan, read_states, write_plan
from .planning import Planned, plan_table, reference_row
from .starters import Workers
from .status import StatusLines, Tail

POLL = 0.5
CHOICE = ("only", "seeds", "options", "train_args")


@dataclass
class Outcome:
    """A planned table, its folder, states of its jobs, and training images of those whose data were read."""

    planned: Planned
    folder: Path
    states: dict[str, State]
    images: Mapping[str, int] = field(default_factory=dict)

    @property
    def counts(self) -> Counter[str]:
        """Numbers of jobs by status."""
        return Counter(state.status for state in self.states.values())

    @property
    def failed(self) -> dict[str, State]:
        """Failed jobs."""
        return {name: state for name, state in self.states.items() if state.status == FAILED}


def plan_in(
    table: Table,
    name: str,
    out: str | os.PathLike,
    *,
    skip_missing: bool = False,
    retry_failed: bool = False,
    dry_run: bool = False,
    **settings: Any,
) -> Outcome:
    """Plan a table, check data and disk, and write the plan and its jobs; see :func:`.planning.plan_table`.

    Args:
        table: The cells.
        name: Name of the table.
        out: Folder of all tables.
        skip_missing: Leave out cells whose data are missing.
        retry_failed: Open failed jobs again.
        dry_run: Write nothing; missing data are a note of the plan.
        settings: Further arguments of :func:`.planning.plan_table`.

    Raises:
        UserError: Bad input; nothing was written then.
    """
    check_place(out)
    planned = plan_table(table, name, out, **settings)
    folder = Path(out).resolve() / name
    faults, images = check_data(planned, folder, every=dry_run)
    if dry_run and not skip_missing:
        notes = [f"Missing: {text}" for text in missing_data(faults)]
        planned = replace(planned, plan=replace(planned.plan, notes=[*planned.plan.notes, *notes]))
    else:
        planned = without_missing(planned, faults, skip=skip_missing)
    if not dry_run:
        write_plan(folder, planned.plan, planned.jobs)
        if retry_failed:
            reopen(folder, planned.plan)
    return Outcome(planned, folder, read_states(folder, planned.plan), images)


def reopen(folder: Path, plan: Plan) -> None:
    """Open failed jobs again."""
    for name in plan.jobs:
        place = job_folder(folder, name)
        if read_state(place).status == FAILED and (lock := take_lock(place)):
            if (state := read_state(place)).status == FAILED:
                write_state(place, replace(state, status=OPEN, deaths=0, since=time.time()))
            lock.release()


def run_workers(
    outcome: Outcome, make: Callable[[Path, int], Starter], n: int, views: Sequence[Callable[[], None]]
) -> Outcome:
    """Have workers run the jobs of a table, those with the fewest processes first.

    Attached workers are waited for, until no job is left that can be run; SIGTERM, SIGHUP and Ctrl-C stop
    them first.

    Args:
        outcome: A table whose plan is written.
        make: Makes a starter for the table's folder and a number of processes.
        n: Most workers.
        views: Called about twice a second; the first error of each is logged.
    """
    plan, folder = outcome.planned.plan, outcome.folder
    if not plan.jobs:
        return outcome
    broken: set[Callable[[], None]] = set()

    def look() -> None:
        for view in views:
            try:
                view()
            except Exception as error:  # a table that cannot be drawn does not stop its jobs
                if view not in broken:
                    broken.add(view)
                    print_log(f"Not drawn: {sentence(error)}", logger="current", level=logging.WARNING)

    handlers = {number: signal.signal(number, _leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        while True:
            before = outcome.counts
            for processes in sorted({plan.processes.get(name, 1) for name in plan.jobs}):
                starter = make(folder, processes)
                try:
                    while starter.start(n) and starter.attached:
                        look()
                        time.sleep(POLL)
                except BaseException:
                    starter.stop()
                    raise
            outcome.states = read_states(folder, plan)
            look()
            if not starter.attached or outcome.counts == before or not outcome.counts[OPEN]:
                return outcome
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def run_table(
    file: str,
    console: Any,
    *,
    out: str | os.PathLike,
    workers: Workers,
    dry_run: bool = False,
    show: bool = False,
    estimate: bool = False,
    switches: Mapping[str, bool] | None = None,
    reference: Sequence[str] = (),
    **settings: Any,
) -> int:
    """Plan and run the table of a file, and draw it meanwhile; see :func:`plan_in`.

    Args:
        file: Path of a table, or the name of one in ``configs/papers``.
        console: Terminal to draw on (:class:`ssl_ext.cli.console.PlainConsole`).
        out: Folder of all tables.
        workers: The workers (:func:`.starters.choose_workers`).
        dry_run: Print the runs and their states only.
        show: Print the table as it stands only, and write its files.
        estimate: Print time and memory of the runs whose data are there only.
        switches: What ``train_args`` of ``settings`` set in each config, for the estimate.
        reference: Row that tests compare the others with, as ``axis=value``; default that of the file.
        settings: Further arguments of :func:`plan_in`.

    Returns:
        0; 1 if jobs failed, or are not done when the workers have ended.

    Raises:
        UserError: Bad input, before anything is started.
    """
    path = find_table(file)
    settings |= dict(file=path, most_processes=workers.most_processes)
    # Other cells, seeds or settings are another table, whose workers may run at the same time.
    choice = [settings.get(name) for name in CHOICE]
    name = f"{path.stem}-{digest(choice)[:6]}" if any(choice) else path.stem
    _check_file(path, Path(out).resolve() / name)
    table = read_table(path)
    if reference:
        table = replace(table, reference=reference_row(table, reference))
    if show:
        show_table(Path(out).resolve() / name, console, table.reference if reference else None)
        return 0
    settings["skip_missing"] = settings.get("skip_missing", False) or estimate
    outcome = plan_in(table, name, out, dry_run=dry_run or estimate, **settings)
    plan, jobs = outcome.planned.plan, outcome.planned.jobs
    if not dry_run and not estimate:
        for note in plan.notes:
            console.print(note)
        with LiveTable(outcome.folder, console) as live:
            views: list[Callable[[], None]] = [Tail(outcome.folder, console), live]
            if not console.is_terminal:
                views.append(StatusLines(outcome.folder, plan, jobs))
            run_workers(outcome, workers.make, workers.n, views)
        show_table(outcome.folder, console)
        if workers.note:
            console.print(workers.note)
            return 1 if outcome.failed else 0
        return 0 if set(outcome.counts) <= {DONE} else 1
    if estimate:
        console.print_grids(estimate_table(plan, jobs, outcome.states, console.print, switches))
    print_plan(console, plan, jobs, outcome.states, None if estimate else outcome.images)
    return 1 if outcome.failed else 0


def _check_file(path: Path, folder: Path) -> None:
    """Raise UserError if the folder has the plan of another file of the same name."""
    other = read_plan(folder).file if (folder / PLAN).exists() else None
    if other and Path(other).exists() and Path(other).read_bytes() != path.read_bytes():
        raise UserError(
            f"'{folder}' is the folder of another table, '{other}': rename '{path}' or give another --out."
        )


def _leave(number: int, frame: object) -> None:
    raise SystemExit(128 + number)

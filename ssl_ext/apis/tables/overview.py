"""The runs of a plan and what is done, in lines for a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config
from rich.table import Table

from ssl_ext.config.load import load_config, parse_options

from .jobs import OPEN, STAGES, Job, State
from .plan import Plan


def print_plan(
    console: Any,
    plan: Plan,
    jobs: Mapping[str, Job],
    states: Mapping[str, State],
    images: Mapping[str, int] | None,
) -> None:
    """Print the notes of a plan, its runs (unless ``images`` is None) and a line for each stage."""
    for line in plan.notes:
        console.print(line)
    if images is not None:
        console.print(runs_table(plan, jobs, states, images))
    for line in summary(plan, jobs, states):
        console.print(line)


def runs_table(
    plan: Plan, jobs: Mapping[str, Job], states: Mapping[str, State], images: Mapping[str, int]
) -> Table:
    """Make a row for each group of jobs that differ in their seeds alone, in the order of the plan.

    Steps are those of one training; empty if its data are missing.
    """
    table = Table(title=f"{plan.name}: {len(plan.cells)} cells, {len(plan.jobs)} jobs")
    for name in ("stage", "run", "processes", "steps", "seeds", "state"):
        table.add_column(name, justify="right" if name in ("processes", "steps") else "left", overflow="fold")
    groups: dict[tuple[Any, ...], list[Job]] = {}
    for name in plan.jobs:
        job = jobs[name]
        groups.setdefault((job.stage, *job.words[:-1]), []).append(job)
    for (stage, *words), group in groups.items():
        counts = Counter(states[job.id].status for job in group)
        steps = steps_of(group[0], images.get(group[0].id))
        table.add_row(
            str(stage),
            " ".join(map(str, words)),
            str(group[0].processes),
            f"{steps:,}" if steps else "",
            " ".join(map(str, sorted({job.seed for job in group}))),
            ", ".join(f"{count} {status}" for status, count in counts.items()),
        )
    return table


def summary(plan: Plan, jobs: Mapping[str, Job], states: Mapping[str, State]) -> list[str]:
    """A line for each stage, and one for cells that are not run."""
    lines = []
    for stage in STAGES:
        counts = Counter(states[name].status for name in plan.jobs if jobs[name].stage == stage)
        if counts:
            lines.append(f"{stage}: " + ", ".join(f"{count} {status}" for status, count in counts.items()))
    if left := Counter(cell.note for cell in plan.cells if cell.note):
        lines += [f"{count} cells: {note}" for note, count in left.items()]
    blocked = [name for name in plan.jobs if states[name].status == OPEN and _blocked(name, jobs, states)]
    if blocked:
        lines.append(f"{len(blocked)} open jobs wait for failed ones")
    return lines


def steps_of(job: Job, images: int | None) -> int | None:
    """Steps of a training; None for an evaluation or an unknown number of images."""
    if job.command[:2] != ["ssl-ext", "train"]:
        return None
    config: Config = load_config(job.command[2], parse_options(job.options))
    if not config.train_cfg.get("by_epoch"):
        return config.train_cfg.get("max_iters")
    if images is None:
        return None
    loader = config.train_dataloader
    batches = images // job.processes / loader.get("batch_size", 1)
    whole = int(batches) if loader.get("drop_last", False) else int(-(-batches // 1))
    return whole * config.train_cfg.max_epochs


def _blocked(name: str, jobs: Mapping[str, Job], states: Mapping[str, State]) -> bool:
    return any(
        states[one].status == "failed" or (states[one].status == OPEN and _blocked(one, jobs, states))
        for one in jobs[name].after
    )

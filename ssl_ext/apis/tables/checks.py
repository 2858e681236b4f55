"""Checks before a table starts: data and weights, disk space. Also counts the steps of trainings."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from ssl_ext.config.data import build_dataset
from ssl_ext.errors import UserError
from ssl_ext.files import check_writable, file_fault

from .plan import read_states
from .planner import WEIGHTS
from .planning import Planned

MIN_FREE = 2**30


def check_place(out: str | os.PathLike) -> None:
    """Raise UserError if ``out`` cannot be written, or has less than 1 GiB free."""
    check_writable(out, "--out")
    place = Path(out).resolve()
    while not place.exists():
        place = place.parent
    if (free := shutil.disk_usage(place).free) < MIN_FREE:
        raise UserError(
            f"'{out}' has only {free / 2**20:.0f} MiB free, and a table's checkpoints need gigabytes: free "
            "disk space or give another folder (--out)."
        )


def check_data(
    planned: Planned, folder: Path, *, every: bool = False
) -> tuple[dict[str, str], dict[str, int]]:
    """Build each data set once.

    Args:
        planned: A plan.
        folder: Folder of the table.
        every: Also build the data of jobs that were started before.

    Returns:
        A sentence for each job whose data or weights are missing, and the number of training images of the
        other jobs.
    """
    states = read_states(folder, planned.plan)
    built: dict[str, int | str] = {}
    faults: dict[str, str] = {}
    images: dict[str, int] = {}
    for name, data in planned.data.items():
        if states[name].tries and not every:
            continue
        for key, settings in data:
            identity = json.dumps([key == WEIGHTS, settings], sort_keys=True, default=str)
            if identity not in built:
                built[identity] = _built(key, settings, planned.jobs[name].stage == "detect")
            found = built[identity]
            if isinstance(found, str):
                faults.setdefault(name, found)
            else:
                images.setdefault(name, found)
    return faults, images


def _built(key: str, settings: Mapping[str, Any], detection: bool) -> int | str:
    """Number of images of a data set, or a sentence."""
    if key == WEIGHTS:
        fault = file_fault(settings["file"])
        return f"The weights '{settings['file']}' {fault}." if fault else 0
    # Evaluation reads every split; the files are the same.
    split = {} if detection or not key.startswith("evaluation_dataset") else dict(split="train")
    try:
        return len(build_dataset(key, dict(settings, **split)))
    except UserError as error:
        return str(error)


def missing_data(faults: Mapping[str, str]) -> list[str]:
    """The different sentences of ``faults``; the same data set is read under several keys."""
    return list({text.partition(": ")[2] or text: text for text in faults.values()}.values())


def without_missing(planned: Planned, faults: Mapping[str, str], *, skip: bool) -> Planned:
    """The plan without the jobs that ``faults`` names, and without those that wait for them.

    Raises:
        UserError: There are faults, and ``skip`` is False.
    """
    if not faults:
        return planned
    sentences = missing_data(faults)
    if not skip:
        count = "A data set is" if len(sentences) == 1 else f"{len(sentences)} data sets are"
        raise UserError(
            f"{count} missing, nothing was started (--skip-missing runs the other cells): "
            + " ".join(sentences)
        )
    for text in sentences:
        print_log(f"Skipped: {text}", logger="current")
    out = dict(faults)
    for name, job in planned.jobs.items():
        if missing := [out[one] for one in job.after if one in out]:
            out.setdefault(name, missing[0])
    jobs = {name: job for name, job in planned.jobs.items() if name not in out}
    cells = [
        replace(cell, evaluate=None, note=out[cell.evaluate]) if cell.evaluate in out else cell
        for cell in planned.plan.cells
    ]
    processes = {name: count for name, count in planned.plan.processes.items() if name in jobs}
    plan = replace(planned.plan, jobs=list(jobs), cells=cells, processes=processes)
    return Planned(plan, jobs, {name: planned.data[name] for name in jobs})

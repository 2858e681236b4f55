"""Reading the scalars logged by a run."""

from __future__ import annotations

import json
import os
from itertools import chain
from pathlib import Path
from typing import Any

from ssl_ext.json_files import read_bytes
from ssl_ext.values import is_number

EPOCH_SECONDS = "epoch_seconds"


def read_scalars(run_dir: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Read the records of MMEngine's LocalVisBackend for one run, sorted by step.

    Each start of a run logs to ``<run_dir>/<time stamp>/vis_data``. Records of a later start replace
    earlier ones from its first step on. Training records (those with ``loss``) and other kinds of
    records, distinguished by their keys, are joined separately, because the steps of validation metrics
    may be epochs. A truncated last line is ignored.

    Args:
        run_dir: Work directory of the run, or one time stamp's folder in it.

    Returns:
        One dict per log line with its numbers: ``step``, ``loss``, ``loss_…``, ``lr``, …

    Raises:
        FileNotFoundError: There is no log under ``run_dir``.
        ValueError: A line other than the last is not a JSON object with a step.
    """
    logs = _logs(Path(run_dir))
    if not logs:
        raise FileNotFoundError(
            f"no log '<time stamp>/vis_data/*.json' under '{run_dir}'; is it the work directory of a "
            "run with visualizer.vis_backends=[dict(type='LocalVisBackend')]?"
        )
    joined: dict[frozenset[str], list[dict[str, Any]]] = {}
    for log in logs:
        started: dict[frozenset[str], list[dict[str, Any]]] = {}
        for record in _parse(log):
            kind = frozenset(["loss"] if "loss" in record else record)
            started.setdefault(kind, []).append(record)
        for kind, records in started.items():
            start = min(record["step"] for record in records)
            kept = [record for record in joined.get(kind, []) if record["step"] < start]
            joined[kind] = kept + records
    return sorted(chain.from_iterable(joined.values()), key=lambda record: record["step"])


def figure_of_epoch(run_dir: str | os.PathLike[str], key: str, epoch: int) -> float:
    """Mean of the values of ``key`` that a run logged in an epoch, counted from 1.

    ``epoch_seconds``, where it is not logged, is the mean time of a step times the steps of an epoch.

    Raises:
        FileNotFoundError: There is no log under ``run_dir``.
        ValueError: The log is damaged, or has no such value.
    """
    records = read_scalars(run_dir)
    found = [record[key] for record in records if record.get("epoch") == epoch and key in record]
    if not found and key == EPOCH_SECONDS:
        steps = max(record["step"] for record in records) / max(record.get("epoch", 1) for record in records)
        return steps * figure_of_epoch(run_dir, "time", epoch)
    if not found:
        raise ValueError(f"the log of '{run_dir}' has no {key} of epoch {epoch}.")
    return sum(found) / len(found)


def _logs(run_dir: Path) -> list[Path]:
    """Return one log per start of the run, oldest first (time stamps sort by name)."""
    folders = sorted(folder for folder in run_dir.glob("*/vis_data") if folder.is_dir())
    if (run_dir / "vis_data").is_dir():
        folders = [run_dir / "vis_data"]
    logs = []
    for folder in folders:
        # scalars.json holds all records; <time stamp>.json those of the logger.
        candidates = [folder / "scalars.json", *sorted(folder.glob("*.json"))]
        logs += [path for path in candidates if path.is_file()][:1]
    return logs


def _parse(log: Path) -> list[dict[str, Any]]:
    records = []
    lines = read_bytes(log).decode(errors="replace").splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            numbers = {k: v for k, v in record.items() if isinstance(v, float) or is_number(v)}
            record = {**numbers, "step": int(record["step"])}
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            if number == len(lines):
                break
            raise ValueError(f"'{log}', line {number}: not a log record with a step") from error
        records.append(record)
    return records

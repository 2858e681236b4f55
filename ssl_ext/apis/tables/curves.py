"""Small curves of the training loss, for the page of a table."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

POINTS = 60
WIDTH, HEIGHT = 120, 28


def sampled_losses(log: Path) -> list[tuple[int, float]]:
    """Step and loss of up to 60 records spread evenly over a ``scalars.json`` of any length."""
    found = {}
    with open(log, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        for number in range(POINTS):
            file.seek(number * size // POINTS)
            if number:
                file.readline()  # the rest of a record
            try:
                record = json.loads(file.readline())
                found[int(record["step"])] = float(record["loss"])
            except (ValueError, KeyError, TypeError):
                continue  # another kind of record, or a truncated one
    return sorted(found.items())


def loss_points(run: Path) -> str:
    """Points of an SVG polyline of 120 x 28 units: the loss over the steps of a run; empty without a log."""
    logs = sorted(run.glob("*/vis_data/scalars.json"))
    losses = dict(pair for log in logs for pair in sampled_losses(log) if math.isfinite(pair[1]))
    if len(losses) < 2:
        return ""
    steps, values = list(losses), list(losses.values())
    low, span = min(values), max(values) - min(values) or 1.0
    first, length = min(steps), max(steps) - min(steps)
    points = (
        (WIDTH * (step - first) / length, HEIGHT * (1 - (loss - low) / span))
        for step, loss in sorted(losses.items())
    )
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)

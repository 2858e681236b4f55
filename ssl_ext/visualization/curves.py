"""Training curves of one or more runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from .style import PALETTE, new_figure, open_frame

PANEL = (3.0, 2.3)  # inches
COLUMNS = 4


def loss_curves(
    runs: Mapping[str, Sequence[Mapping[str, Any]]],
    keys: Sequence[str] | None = None,
    smoothing: float | None = None,
) -> Figure:
    """One panel per logged term over the iterations, one line per run (Fig. 2 of TriMix).

    Args:
        runs: For each name the records of ``read_scalars``, dicts with ``step`` and terms.
        keys: Terms to draw; by default ``loss`` and every ``loss_…`` that occurs.
        smoothing: Weight in [0, 1) of an exponential moving average without bias at the start; the
            raw line stays behind it, pale.

    Raises:
        ValueError: There is nothing to draw, or ``smoothing`` is out of range.
    """
    if smoothing is not None and not 0 <= smoothing < 1:
        raise ValueError(f"smoothing must lie in [0, 1), got {smoothing}")
    found = dict.fromkeys(key for records in runs.values() for record in records for key in record)
    if keys is None:
        keys = [key for key in found if key.startswith("loss_")]
        keys = ["loss", *keys] if "loss" in found else keys
    missing = [key for key in keys if key not in found]
    if missing or not keys:
        raise ValueError(f"no run has logged {missing or 'a loss'}; logged are {list(found)}")

    columns = len(keys) if len(keys) <= COLUMNS else min(math.ceil(len(keys) / 2), COLUMNS)
    rows = math.ceil(len(keys) / columns)
    figure = new_figure(PANEL[0] * columns, PANEL[1] * rows + (0.3 if len(runs) > 1 else 0))
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel, key in zip(panels, keys, strict=False):
        for number, (name, records) in enumerate(runs.items()):
            steps, values = _series(records, key)
            colour = PALETTE[number % len(PALETTE)]
            dashes = ("-", "--", ":", "-.")[number // len(PALETTE) % 4]
            if smoothing:
                panel.plot(steps, values, color=colour, alpha=0.25, linewidth=0.8)
                values = moving_average(values, smoothing)
            panel.plot(steps, values, dashes, color=colour, linewidth=1.4, label=name)
        panel.set_title(_title(key), fontsize=10)
        panel.set_xlabel("iteration", fontsize=9)
        panel.tick_params(labelsize=8)
        panel.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        panel.xaxis.set_major_formatter(EngFormatter(sep=""))
        panel.grid(color="0.92", linewidth=0.7)
        panel.set_axisbelow(True)
        open_frame(panel)
    for panel in panels[len(keys) :]:
        panel.remove()
    if len(runs) > 1:
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(runs), frameon=False, fontsize=9)
    return figure


def moving_average(values: np.ndarray, weight: float) -> np.ndarray:
    """Exponential moving average, divided by the sum of its weights so that it starts unbiased.

    Values that are not finite are left out of the average.

    >>> moving_average(np.array([2.0, 4.0]), 0.5).round(3).tolist()
    [2.0, 3.333]
    """
    average, total = 0.0, 0.0
    smooth = np.full(len(values), np.nan)
    for i, value in enumerate(values):
        if np.isfinite(value):
            average = weight * average + (1 - weight) * value
            total = weight * total + (1 - weight)
        smooth[i] = average / total if total else np.nan
    return smooth


def _series(records: Sequence[Mapping[str, Any]], key: str) -> tuple[np.ndarray, np.ndarray]:
    points = [(record["step"], record[key]) for record in records if key in record]
    steps, values = np.array(points, dtype=float).reshape(-1, 2).T
    return steps, values


def _title(key: str) -> str:
    """Words for a logged name: ``loss`` is the total, ``loss_virtual`` virtual."""
    return "total loss" if key == "loss" else key.removeprefix("loss_").replace("_", " ")

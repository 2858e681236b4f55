"""Training curves of one or more runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, MaxNLocator

from ssl_ext.names import X_AXES

from .style import COLUMN, PAGE, PALETTE, centred_grid, end_at_limits, label_axes, legend_below, new_figure

HEIGHT = 1.8  # inches of a row
AXES = {"hours": "hours of training"}
# A single point shows by its hollow marker that it is of validation images.
VALIDATION: dict[str, Any] = {"linestyle": (0, (3, 1.5)), "markerfacecolor": "white"}
MARKED = 30  # points
# Parts of the names of metrics that are drawn in percent.
ACCURACIES = frozenset(("acc", "accuracy", "top1", "top5"))
FRACTIONS = frozenset(("auc", "f1"))  # values in [0, 1] that are drawn as they are
SPELLED = {
    "acc": "accuracy",
    "knn": "kNN",
    "lr": "learning rate",
    "top1": "top-1",
    "rankme": "RankMe",
    "lidar": "LiDAR",
    "val": "validation",
}


def loss_curves(
    runs: Mapping[str, Sequence[Mapping[str, Any]]],
    keys: Sequence[str] | None = None,
    smoothing: float | None = None,
    x: str = "iteration",
) -> Figure:
    """Draw one panel per logged term with one line per run (Fig. 2 of TriMix).

    The validation value of a term (``val_`` and its name) is drawn dashed, with hollow markers, in the same
    panel. Accuracies are in percent.

    Args:
        runs: Name of each run to the records of ``read_scalars``, dicts with ``step`` and terms.
        keys: Terms to draw; by default ``loss`` and every ``loss_…`` that differs from it.
        smoothing: Weight in [0, 1) of a bias-corrected exponential moving average of the terms that are
            logged with the training loss; the raw values are drawn pale behind it. Values logged
            separately, such as validation metrics, and series of up to 30 points, which have markers, are
            never smoothed.
        x: ``'iteration'``; ``'epoch'``: the mean of each epoch's records; or ``'hours'`` of training, for
            terms logged with ``training_seconds``, such as a classifier's accuracies.

    Raises:
        ValueError: There is nothing to draw, ``smoothing`` is out of range, or ``x`` is unknown.
    """
    if smoothing is not None and not 0 <= smoothing < 1:
        raise ValueError(f"smoothing must lie in [0, 1), got {smoothing}")
    if x not in X_AXES:
        raise ValueError(f"x is {x!r}; allowed are {', '.join(X_AXES)}")
    found = dict.fromkeys(key for records in runs.values() for record in records for key in record)
    if keys is None:
        logged = [record for records in runs.values() for record in records]
        keys = [
            key
            for key in found
            if key.startswith("loss_") and any(record.get(key) != record.get("loss") for record in logged)
        ]
        keys = ["loss", *keys] if "loss" in found else keys
    missing = [key for key in keys if key not in found]
    if missing or not keys:
        raise ValueError(f"no run has logged {missing or 'a loss'}; logged are {list(found)}")
    validated = {key: f"val_{key}" for key in keys if f"val_{key}" in found and f"val_{key}" not in keys}

    columns = len(keys) if len(keys) < 4 else 2 if len(keys) == 4 else 3
    rows = math.ceil(len(keys) / columns)
    entries: dict[str, Line2D] = {}
    if len(runs) > 1:
        entries = {name: Line2D([], [], **_look(number)) for number, name in enumerate(runs)}
    if validated:
        entries["training"] = Line2D([], [], color="0.3", linewidth=1.2)
        entries["validation"] = Line2D(
            [], [], color="0.3", linewidth=1.2, marker="o", markersize=2.5, **VALIDATION
        )
    figure = new_figure(COLUMN if columns == 1 else PAGE, HEIGHT * rows)
    for panel, key in zip(centred_grid(figure, len(keys), columns), keys, strict=True):
        scale = _scale(runs, [key, validated.get(key, key)])
        for number, (name, records) in enumerate(runs.items()):
            look = dict(_look(number), label=name)
            in_training = all("loss" in record for record in records if key in record)
            steps, values = _series(records, key, x)
            _draw(panel, steps, scale * values, look, smoothing if in_training else None)
            if key in validated:
                dashed = {**look, **VALIDATION, "label": f"{name}, validation"}
                steps, values = _series(records, validated[key], x)
                _draw(panel, steps, scale * values, dashed, None)
        label_axes(panel, AXES.get(x, x), _words(key))
        if _is_accuracy(key):
            end_at_limits(panel, "y", 100)
        elif not FRACTIONS.isdisjoint(key.split("_")):
            end_at_limits(panel, "y", 1)
        panel.xaxis.set_major_locator(MaxNLocator(4, integer=x != "hours", min_n_ticks=1))
        panel.yaxis.set_major_locator(MaxNLocator(5, min_n_ticks=2))
        if x != "hours":  # the formatter writes 0.025 as "25m"
            panel.xaxis.set_major_formatter(EngFormatter(sep=""))
    if entries:
        legend_below(figure, list(entries.values()), list(entries))
    return figure


def _is_accuracy(key: str) -> bool:
    return not ACCURACIES.isdisjoint(key.split("_"))


def _scale(runs: Mapping[str, Sequence[Mapping[str, Any]]], keys: Sequence[str]) -> int:
    """Factor of values in percent: 100 for accuracies in [0, 1]; 1 for those in percent and other values."""
    values = [record[key] for records in runs.values() for record in records for key in keys if key in record]
    return 100 if _is_accuracy(keys[0]) and not any(value > 1 for value in values) else 1


def _look(number: int) -> dict[str, Any]:
    """Colour and dashes of a run."""
    dashes = ("-", ":", "-.")[number // len(PALETTE) % 3]
    return {"color": PALETTE[number % len(PALETTE)], "linestyle": dashes, "linewidth": 1.2}


def _draw(
    panel: Axes, steps: np.ndarray, values: np.ndarray, look: dict[str, Any], smoothing: float | None
) -> None:
    if not len(values):
        return
    few = len(values) <= MARKED
    if smoothing and not few:
        panel.plot(steps, values, color=to_rgba(look["color"], 0.25), linewidth=0.8)
        values = moving_average(values, smoothing)
    panel.plot(steps, values, **look, marker="o" if few else None, markersize=2.5)


def moving_average(values: np.ndarray, weight: float) -> np.ndarray:
    """Bias-corrected exponential moving average; non-finite values are skipped.

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


def _series(
    records: Sequence[Mapping[str, Any]], key: str, x: str = "iteration"
) -> tuple[np.ndarray, np.ndarray]:
    place = X_AXES[x]
    points = [(record[place], record[key]) for record in records if key in record and place in record]
    steps, values = np.array(points, dtype=float).reshape(-1, 2).T
    if x == "hours":
        steps = steps / 3600
    if x != "epoch":
        return steps, values
    epochs = np.unique(steps)
    return epochs, np.array([values[steps == epoch].mean() for epoch in epochs])


def _words(key: str) -> str:
    """Axis label of a logged name, such as "total loss" for ``loss`` or "kNN top-1 (%)" for ``knn_top1``."""
    if key in ("loss", "val_loss"):
        return "total loss" if key == "loss" else "total loss, validation"
    term = key.startswith("loss_")
    words = [SPELLED.get(word, word) for word in key.removeprefix("loss_").split("_")]
    return " ".join(words) + (" loss" if term else " (%)" if _is_accuracy(key) else "")

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

from .style import PALETTE, end_at_limits, new_figure, open_frame

PANEL = (3.0, 2.3)  # inches
COLUMNS = 4
DASHED = (0, (3, 1.5))
MARKED = 30  # points
# Parts of the names of metrics in [0, 1].
ACCURACIES = frozenset(("acc", "accuracy", "auc", "f1", "top1", "top5"))
SPELLED = {
    "acc": "accuracy",
    "knn": "kNN",
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

    The validation value of a term (``val_`` and its name) is drawn dashed in the same panel.

    Args:
        runs: Name of each run to the records of ``read_scalars``, dicts with ``step`` and terms.
        keys: Terms to draw; by default ``loss`` and every ``loss_…`` that occurs.
        smoothing: Weight in [0, 1) of a bias-corrected exponential moving average of the terms that are
            logged with the training loss; the raw values are drawn pale behind it. Values logged
            separately, such as validation metrics, are never smoothed. Markers show measured values.
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
        keys = [key for key in found if key.startswith("loss_")]
        keys = ["loss", *keys] if "loss" in found else keys
    missing = [key for key in keys if key not in found]
    if missing or not keys:
        raise ValueError(f"no run has logged {missing or 'a loss'}; logged are {list(found)}")
    validated = {key: f"val_{key}" for key in keys if f"val_{key}" in found and f"val_{key}" not in keys}

    columns = len(keys) if len(keys) <= COLUMNS else min(math.ceil(len(keys) / 2), COLUMNS)
    rows = math.ceil(len(keys) / columns)
    entries: dict[str, Line2D] = {}
    if len(runs) > 1:
        entries = {name: Line2D([], [], **_look(number)) for number, name in enumerate(runs)}
    if validated:
        entries["training"] = Line2D([], [], color="0.3", linewidth=1.4)
        entries["validation"] = Line2D([], [], color="0.3", linewidth=1.4, linestyle=DASHED)
    width = PANEL[0] * columns
    fitting = max(1, int(width / (0.6 + 0.075 * max(map(len, entries), default=1))))
    figure = new_figure(width, PANEL[1] * rows + 0.2 * math.ceil(len(entries) / fitting))
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel, key in zip(panels, keys, strict=False):
        for number, (name, records) in enumerate(runs.items()):
            look = dict(_look(number), label=name)
            in_training = all("loss" in record for record in records if key in record)
            _draw(panel, *_series(records, key, x), look, smoothing if in_training else None)
            if key in validated:
                dashed = {**look, "linestyle": DASHED, "label": f"{name}, validation"}
                _draw(panel, *_series(records, validated[key], x), dashed, None)
        if not ACCURACIES.isdisjoint(key.split("_")):
            shown = np.concatenate([line.get_ydata() for line in panel.lines] or [np.zeros(0)])
            end_at_limits(panel, "y", 1 if np.nanmax(shown, initial=0) <= 1 else 100)
        panel.set_title(_title(key), fontsize=10)
        panel.set_xlabel(x, fontsize=9)
        panel.tick_params(labelsize=8)
        panel.xaxis.set_major_locator(MaxNLocator(5, integer=x != "hours", min_n_ticks=1))
        if x != "hours":  # the formatter writes 0.025 as "25m"
            panel.xaxis.set_major_formatter(EngFormatter(sep=""))
        panel.grid(color="0.92", linewidth=0.7)
        panel.set_axisbelow(True)
        open_frame(panel)
    for panel in panels[len(keys) :]:
        panel.remove()
    if entries:
        figure.legend(
            entries.values(),
            entries.keys(),
            loc="outside lower center",
            ncols=min(fitting, len(entries)),
            frameon=False,
            fontsize=9,
        )
    return figure


def _look(number: int) -> dict[str, Any]:
    """Colour and dashes of a run."""
    dashes = ("-", ":", "-.")[number // len(PALETTE) % 3]
    return {"color": PALETTE[number % len(PALETTE)], "linestyle": dashes, "linewidth": 1.4}


def _draw(
    panel: Axes, steps: np.ndarray, values: np.ndarray, look: dict[str, Any], smoothing: float | None
) -> None:
    if not len(values):
        return
    # Markers make series of few points, or of one, visible.
    marked: dict[str, Any] = {"marker": "o" if len(values) <= MARKED else None, "markersize": 3}
    if smoothing:
        colour = look["color"]
        face = {"markerfacecolor": colour, "markeredgecolor": colour}
        panel.plot(steps, values, color=to_rgba(colour, 0.25), linewidth=0.8, **marked, **face)
        values, marked = moving_average(values, smoothing), {}
    panel.plot(steps, values, **look, **marked)


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


def _title(key: str) -> str:
    """Panel title of a logged name, such as "total loss" for ``loss`` or "kNN top-1" for ``knn_top1``."""
    if key in ("loss", "val_loss"):
        return "total loss" if key == "loss" else "total loss, validation"
    words = key.removeprefix("loss_").split("_")
    return " ".join(SPELLED.get(word, word) for word in words)

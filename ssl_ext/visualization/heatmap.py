"""Heatmap of scores over two settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from .style import new_figure

CELL = (0.75, 0.42)  # inches


def sweep_heatmap(
    lines: Mapping[str, Sequence[tuple[Any, float, float | None]]],
    *,
    x_label: str,
    y_label: str,
    label: str = "accuracy (%)",
) -> Figure:
    """Draw the scores of a grid, one row per value of the second setting; missing points stay white.

    Args:
        lines: As for ``sweep_lines``: value of the second setting to points of the first (value, score,
            standard deviation or None).
        x_label: Name of the first setting.
        y_label: Name of the second setting.
        label: Name and unit of the score.

    Raises:
        ValueError: There are no points.
    """
    values = list(dict.fromkeys(value for points in lines.values() for value, _, _ in points))
    if not values:
        raise ValueError("a map over two settings needs at least one point (value, score, std)")
    if all(isinstance(value, int | float) for value in values):
        values.sort()
    names = list(lines)
    scores = np.full((len(names), len(values)), np.nan)
    deviations: dict[tuple[int, int], float] = {}
    for row, points in enumerate(lines.values()):
        for value, mean, deviation in points:
            place = row, values.index(value)
            scores[place] = mean
            if deviation is not None:
                deviations[place] = deviation

    cell = CELL[0] + (0.3 if deviations else 0.0)
    width, height = max(cell * len(values), 1.6), max(CELL[1] * len(names), 1.0)
    margin = 0.075 * max(len(str(name)) for name in names)
    figure = new_figure(width + margin + 1.6, height + 0.8)
    axes = figure.subplots()
    drawn = axes.imshow(scores, cmap="viridis", aspect="auto", interpolation="nearest")
    finite = scores[np.isfinite(scores)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
    for (row, column), score in np.ndenumerate(scores):
        if np.isfinite(score):
            spread = deviations.get((row, column))
            words = f"{score:.2f}" + ("" if spread is None else f" ± {spread:.2f}")
            # White is unreadable on the bright end of viridis.
            colour = "black" if score - low > 0.6 * (high - low) else "white"
            axes.text(column, row, words, ha="center", va="center", fontsize=8, color=colour)
    axes.set_xticks(range(len(values)), [f"{v:g}" if isinstance(v, int | float) else str(v) for v in values])
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(labelsize=8, length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xlabel(x_label, fontsize=9)
    axes.set_ylabel(y_label, fontsize=9)
    bar = figure.colorbar(drawn, ax=axes, fraction=0.08, pad=0.03)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8)
    bar.set_label(label, fontsize=9)
    return figure

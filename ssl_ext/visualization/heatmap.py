"""Heatmap of scores over two settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from .style import CELL_TEXT, COLUMN, LABEL, PAGE, TICK, colour_bar, new_figure, text_colour, widened

CELL = 0.36  # inches
LEAST_WIDTH = 5.0  # of the colour range over single seeds, in units of the score


def sweep_heatmap(
    lines: Mapping[str, Sequence[tuple[Any, float, float | None]]],
    *,
    x_label: str,
    y_label: str,
    label: str = "accuracy (%)",
    noise: float | None = None,
) -> Figure:
    """Draw the scores of a grid, one row per value of the second setting; missing points are grey.

    The colour range is at least twice as wide as a difference that may be chance, so that noise does not look
    like an effect; the colour bar states this.

    Args:
        lines: As for ``sweep_lines``: value of the second setting to points of the first (value, score,
            standard deviation or None).
        x_label: Name of the first setting.
        y_label: Name of the second setting.
        label: Name and unit of the score.
        noise: Largest difference of two scores that may be chance; None if it is unknown, because there is
            one seed: the colours then span at least 5.

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

    figure = new_figure(COLUMN if len(values) <= 4 else PAGE, max(2.1, 0.9 + CELL * len(names)))
    axes = figure.subplots()
    axes.set_facecolor("0.93")
    finite = scores[np.isfinite(scores)]
    ends = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    low, high = widened(*ends, LEAST_WIDTH if noise is None else 2 * noise)
    drawn = axes.imshow(scores, cmap="viridis", vmin=low, vmax=high, aspect="auto", interpolation="nearest")
    for (row, column), score in np.ndenumerate(scores):
        spread = deviations.get((row, column))
        words = f"{score:.2f}" + ("" if spread is None else f"\n± {spread:.2f}")
        known = np.isfinite(score)
        colour = text_colour(drawn.to_rgba(score)) if known else "0.3"
        axes.text(
            column, row, words if known else "–", ha="center", va="center", fontsize=CELL_TEXT, color=colour
        )
    axes.set_xticks(range(len(values)), [f"{v:g}" if isinstance(v, int | float) else str(v) for v in values])
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(labelsize=TICK, length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xlabel(x_label, fontsize=LABEL)
    axes.set_ylabel(y_label, fontsize=LABEL)
    about = (
        f"single seeds: at least {LEAST_WIDTH:g} wide"
        if noise is None
        else f"below {noise:.2g} may be chance"
    )
    colour_bar(figure, drawn, f"{label}\n{about}", ax=axes, fraction=0.08, pad=0.03)
    return figure

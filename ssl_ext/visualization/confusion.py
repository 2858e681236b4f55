"""Confusion matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from .style import (
    CELL_TEXT,
    COLUMN,
    LABEL,
    PAGE,
    TICK,
    add_title,
    colour_bar,
    new_figure,
    text_colour,
    to_array,
)

MAX_WRITTEN, MAX_NAMED = 20, 40
LONGEST = 30  # characters of a class name


def confusion_heatmap(matrix: Any, classes: Sequence[str], *, title: str | None = None) -> Figure:
    """Draw a confusion matrix, coloured by the share of each true class.

    Shares in percent are written for up to 20 classes, names for up to 40. The row of a class without images
    is grey.

    Args:
        matrix: (C, C) counts; rows are true classes, columns predicted classes.
        classes: C names.
        title: Title of the figure; long lines are broken.

    Raises:
        ValueError: The matrix is not square or has negative counts, or the number of names differs.
    """
    counts = to_array(matrix).astype(float)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or counts.size == 0 or (counts < 0).any():
        raise ValueError(f"a confusion matrix is (C, C) with counts from 0, got {counts.shape}")
    if len(classes) != len(counts):
        raise ValueError(f"a confusion matrix of {len(counts)} classes needs as many names: {len(classes)}")
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.full_like(counts, np.nan), where=totals > 0)

    count = len(counts)
    names = [name if len(name) <= LONGEST else name[: LONGEST - 1] + "…" for name in map(str, classes)]
    width = COLUMN if count <= 12 else PAGE
    figure = new_figure(width, 0.9 * width)
    axes = figure.subplots()
    axes.set_facecolor("0.93")  # of classes without images
    drawn = axes.imshow(100 * shares, cmap="Blues", vmin=0, vmax=100, interpolation="nearest")
    if count <= MAX_WRITTEN:
        for (row, column), share in np.ndenumerate(shares):
            words = (
                "–" if np.isnan(share) else f"{100 * share:.0f}" if share >= 0.005 else "<1" if share else "0"
            )
            colour = text_colour(drawn.to_rgba(100 * share)) if share > 0 else "0.6"
            axes.text(column, row, words, ha="center", va="center", fontsize=CELL_TEXT, color=colour)
    if count <= MAX_NAMED:
        upright = max(map(len, names)) <= 2
        axes.set_xticks(range(count), names, rotation=0 if upright else 90)
        axes.set_yticks(range(count), names)
    axes.set_xlabel("predicted class", fontsize=LABEL)
    axes.set_ylabel("true class", fontsize=LABEL)
    axes.tick_params(length=0, labelsize=TICK if count <= 25 else CELL_TEXT)
    for spine in axes.spines.values():
        spine.set_color("0.8")
    colour_bar(figure, drawn, "share of the true class (%)", ax=axes, fraction=0.05, pad=0.02)
    if title:
        add_title(figure, title)
    return figure

"""Confusion matrices."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from .style import new_figure, to_array

MAX_WRITTEN, MAX_NAMED = 20, 40
CELL, SMALLEST, LARGEST = 0.42, 2.2, 8.5  # inches
LONGEST = 30  # characters of a class name
CHARACTER = 0.075  # inches of a character of the title


def confusion_heatmap(matrix: Any, classes: Sequence[str], *, title: str | None = None) -> Figure:
    """Draw a confusion matrix, coloured by the share of each true class.

    Shares in percent are written for up to 20 classes, names for up to 40. A class without images has an
    empty row.

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
    side = float(np.clip(CELL * count, SMALLEST, LARGEST))
    names = [name if len(name) <= LONGEST else name[: LONGEST - 1] + "…" for name in map(str, classes)]
    margin = 0.08 * max(map(len, names)) + 0.5 if count <= MAX_NAMED else 0.6
    figure = new_figure(side + margin + 1.0, side + margin + 0.3)
    axes = figure.subplots()
    drawn = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    if count <= MAX_WRITTEN:
        size = float(np.clip(28 * side / count, 5, 9))
        for (row, column), share in np.ndenumerate(shares):
            if counts[row, column] > 0:
                words = f"{100 * share:.0f}" if share >= 0.005 else "<1"
                colour = "white" if share > 0.55 else "black"
                axes.text(column, row, words, ha="center", va="center", fontsize=size, color=colour)
    if count <= MAX_NAMED:
        size = float(np.clip(50 * side / count, 5, 9))
        upright = max(map(len, names)) <= 2
        axes.set_xticks(range(count), names, fontsize=size, rotation=0 if upright else 90)
        axes.set_yticks(range(count), names, fontsize=size)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_color("0.8")
    axes.set_xlabel("predicted class", fontsize=9)
    axes.set_ylabel("true class", fontsize=9)
    bar = figure.colorbar(drawn, ax=axes, fraction=0.05, pad=0.02, format=lambda x, _: f"{100 * x:.0f} %")
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8)
    bar.set_label("of the true class", fontsize=9)
    if title:
        width = int(figure.get_figwidth() / CHARACTER)
        figure.suptitle("\n".join(fill(line, width) for line in title.splitlines()), fontsize=9)
    return figure

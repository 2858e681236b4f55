"""Confusion matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

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
    """Draw a confusion matrix, coloured by the share of each true class; or those of several labels.

    Shares in percent are written for up to 20 classes, names for up to 40. The row of a class without images
    is grey. Labels have a row each: true positives and false negatives with their shares of the images with
    the label (sensitivity, and its rest), false positives and true negatives with those of the images without
    it (the rest, and specificity).

    Args:
        matrix: (C, C) counts; rows are true classes, columns predicted classes. Or (L, 2, 2) with
            [[TN, FP], [FN, TP]] of each label, as scikit-learn's ``multilabel_confusion_matrix``.
        classes: C or L names.
        title: Title of the figure; long lines are broken.

    Raises:
        ValueError: Another shape, negative counts, or another number of names.
    """
    counts = to_array(matrix).astype(float)
    labels = counts.ndim == 3
    square = counts.shape[1:] == (2, 2) if labels else counts.shape == 2 * counts.shape[:1]
    if not square or counts.size == 0 or (counts < 0).any():
        raise ValueError(
            f"a confusion matrix is (C, C), or (L, 2, 2) of labels, with counts from 0, got {counts.shape}"
        )
    if len(classes) != len(counts):
        raise ValueError(f"a confusion matrix of {len(counts)} classes needs as many names: {len(classes)}")
    names = [name if len(name) <= LONGEST else name[: LONGEST - 1] + "…" for name in map(str, classes)]
    figure = _label_rows(counts, names) if labels else _class_matrix(counts, names)
    if title:
        add_title(figure, title)
    return figure


def _class_matrix(counts: np.ndarray, names: Sequence[str]) -> Figure:
    count, shares = len(counts), _shares(counts)
    width = COLUMN if count <= 12 else PAGE
    figure = new_figure(width, 0.9 * width)
    axes = figure.subplots()
    words = np.vectorize(_percent)(shares) if count <= MAX_WRITTEN else np.empty((0, 0))
    drawn = _draw(axes, shares, words)
    if count <= MAX_NAMED:
        upright = max(map(len, names)) <= 2
        axes.set_xticks(range(count), names, rotation=0 if upright else 90)
        axes.set_yticks(range(count), names)
    axes.set_xlabel("predicted class", fontsize=LABEL)
    axes.set_ylabel("true class", fontsize=LABEL)
    axes.tick_params(length=0, labelsize=TICK if count <= 25 else CELL_TEXT)
    colour_bar(figure, drawn, "share of the true class (%)", ax=axes, fraction=0.05, pad=0.02)
    return figure


def _label_rows(counts: np.ndarray, names: Sequence[str]) -> Figure:
    """Columns TP, FN, FP and TN of the labels (L, 2, 2)."""
    ordered = counts[:, ::-1, ::-1]
    shares = _shares(ordered).reshape(len(counts), 4)
    words = [
        [
            f"{count:.0f}" + f" ({_percent(share)} %)" * bool(share >= 0)
            for count, share in zip(*row, strict=True)
        ]
        for row in zip(ordered.reshape(shares.shape), shares, strict=True)
    ]
    figure = new_figure(PAGE, 1.3 + 0.26 * len(counts))
    axes = figure.subplots()
    _draw(axes, shares, np.array(words))
    axes.set_aspect("auto")
    axes.axvline(1.5, color="white", linewidth=4)
    axes.set_xticks(
        range(4), ["predicted\n(TP)", "not predicted\n(FN)", "predicted\n(FP)", "not predicted\n(TN)"]
    )
    axes.xaxis.tick_top()
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(length=0, labelsize=TICK)
    for place, words_below in ((0.25, "images with the label"), (0.75, "images without the label")):
        axes.annotate(
            words_below, (place, 0), (0, -6), "axes fraction", "offset points", ha="center", va="top",
            fontsize=LABEL,
        )  # fmt: skip
    return figure


def _shares(counts: np.ndarray) -> np.ndarray:
    """Shares of the sums along the last axis; NaN where a sum is 0."""
    totals = counts.sum(axis=-1, keepdims=True)
    return np.divide(counts, totals, out=np.full_like(counts, np.nan), where=totals > 0)


def _percent(share: float) -> str:
    return "–" if np.isnan(share) else f"{100 * share:.0f}" if share >= 0.005 else "<1" if share else "0"


def _draw(axes: Axes, shares: np.ndarray, words: np.ndarray) -> AxesImage:
    """Colour the cells by shares, and write words in them."""
    axes.set_facecolor("0.93")  # of classes without images
    drawn = axes.imshow(100 * shares, cmap="Blues", vmin=0, vmax=100, interpolation="nearest")
    for (row, column), text in np.ndenumerate(words):
        share = shares[row, column]
        colour = text_colour(drawn.to_rgba(100 * share)) if share > 0 else "0.6"
        axes.text(column, row, text, ha="center", va="center", fontsize=CELL_TEXT, color=colour)
    for spine in axes.spines.values():
        spine.set_color("0.8")
    return drawn

"""Curves of scores against labels: ROC, precision and recall, and reliability."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .style import CELL_TEXT, COLUMN, GREY, PAGE, PALETTE, add_title, label_axes, legend_below, new_figure

NAMED_UP_TO = 10  # classes; with more, lines are thin, grey and not named
BINS = 15


def prediction_panels(
    scores: np.ndarray,
    positive: np.ndarray,
    names: Sequence[str],
    *,
    confidence: np.ndarray,
    right: np.ndarray,
    title: str | None = None,
) -> Figure:
    """Draw ROC and precision-recall curves of each class against the rest, and a reliability diagram.

    The reliability diagram shows the accuracy of 15 bins of confidence, with the share of the images as bars
    (Guo et al., "On Calibration of Modern Neural Networks", 2017, Fig. 1).

    Args:
        scores: Probabilities (N, C).
        positive: Mask (N, C) of the images of each class.
        names: Names of the C classes.
        confidence: Probabilities (M,) of the predictions.
        right: Mask (M,) of the correct predictions.
        title: Title of the figure.

    Raises:
        ValueError: No class has both positive and negative images.
    """
    figure = new_figure(PAGE, 2.5)
    roc, recall, reliability = figure.subplots(1, 3)
    lines = _curves(roc, recall, scores, positive, names)
    _reliability(reliability, confidence, right)
    reliability.legend(fontsize=CELL_TEXT, frameon=False, loc="upper left")
    if lines:
        legend_below(figure, list(lines.values()), list(lines))
    if title:
        add_title(figure, title)
    return figure


def prediction_figures(
    scores: np.ndarray,
    positive: np.ndarray,
    names: Sequence[str],
    *,
    confidence: np.ndarray,
    right: np.ndarray,
    tempered: np.ndarray | None = None,
) -> tuple[Figure, Figure, Figure]:
    """Draw the panels of :func:`prediction_panels` as separate figures.

    ``tempered`` (M,) are the probabilities of the predictions at a temperature, drawn beside ``confidence``.
    """
    figures = new_figure(COLUMN, 3.3), new_figure(COLUMN, 3.3), new_figure(COLUMN, 3.3)
    roc, recall, reliability = (figure.subplots() for figure in figures)
    lines = _curves(roc, recall, scores, positive, names)
    _reliability(reliability, confidence, right, tempered)
    if lines:
        for figure in figures[:2]:
            legend_below(figure, list(lines.values()), list(lines))
    legend_below(figures[2], *reliability.get_legend_handles_labels())
    return figures


def _curves(
    roc: Axes, recall: Axes, scores: np.ndarray, positive: np.ndarray, names: Sequence[str]
) -> dict[str, Line2D]:
    """Draw ROC and precision-recall curves; the lines by their names, if there are few enough to name."""
    from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

    known = [c for c in range(scores.shape[1]) if 0 < positive[:, c].sum() < len(positive)]
    if not known:
        raise ValueError("curves need images of a class, and others")
    named = len(known) <= NAMED_UP_TO
    lines: dict[str, Line2D] = {}
    for place, c in enumerate(known):
        score, own = scores[:, c], positive[:, c]
        style: dict[str, Any] = {"color": PALETTE[place], "linewidth": 1.2} if named else THIN
        false_rate, true_rate, _ = roc_curve(own, score)
        precision, found, _ = precision_recall_curve(own, score)
        areas = f"AUC {roc_auc_score(own, score):.3f}, AUPRC {average_precision_score(own, score):.3f}"
        (line,) = roc.plot(100 * false_rate, 100 * true_rate, **style)
        recall.step(100 * found, 100 * precision, where="post", **style)
        lines[f"{names[c]}: {areas}"] = line
    roc.plot([0, 100], [0, 100], color=GREY, linestyle=":", linewidth=1)
    _finish(roc, "1 − specificity (%)", "sensitivity (%)")
    _finish(recall, "sensitivity, recall (%)", "PPV, precision (%)")
    return lines if named else {}


THIN = {"color": GREY, "linewidth": 0.6}


def _reliability(
    axes: Axes, confidence: np.ndarray, right: np.ndarray, tempered: np.ndarray | None = None
) -> None:
    drawn = {"": (confidence, "o", "-")}
    if tempered is not None:
        drawn = {"before: ": (confidence, "o", "-"), "at the temperature: ": (tempered, "s", "--")}
    axes.plot([0, 100], [0, 100], color=GREY, linestyle=":", linewidth=1)
    for place, (name, (values, marker, style)) in enumerate(drawn.items()):
        bins = np.clip(np.ceil(values * BINS).astype(int) - 1, 0, BINS - 1)
        counts = np.bincount(bins, minlength=BINS)
        filled = counts > 0
        means = [np.bincount(bins, weights=own, minlength=BINS)[filled] for own in (values, right)]
        expected, accuracy = (total / counts[filled] for total in means)
        if not place:
            centres, shares = 100 * (np.arange(BINS) + 0.5) / BINS, 100 * counts / counts.sum()
            axes.bar(centres, shares, width=100 / BINS, color="0.88", label="share of images")
        error = float(np.abs(expected - accuracy) @ counts[filled] / counts.sum())
        axes.plot(
            100 * expected, 100 * accuracy, color=PALETTE[place], marker=marker, markersize=3,
            linestyle=style, label=f"{name}ECE {error:.3f}",
        )  # fmt: skip
    _finish(axes, "confidence (%)", "accuracy (%)")


def _finish(axes: Axes, x: str, y: str) -> None:
    axes.set(xlim=(-2, 102), ylim=(-2, 102))
    label_axes(axes, x, y, grid=False)

"""Curves of scores against labels: ROC, precision and recall, and reliability."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .style import CELL_TEXT, GREY, PAGE, PALETTE, add_title, label_axes, legend_below, new_figure

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
    from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

    known = [c for c in range(scores.shape[1]) if 0 < positive[:, c].sum() < len(positive)]
    if not known:
        raise ValueError("curves need images of a class, and others")
    figure = new_figure(PAGE, 2.5)
    roc, recall, reliability = figure.subplots(1, 3)
    named = len(known) <= NAMED_UP_TO
    lines: dict[str, Line2D] = {}
    for place, c in enumerate(known):
        score, own = scores[:, c], positive[:, c]
        style = {"color": PALETTE[place], "linewidth": 1.2} if named else THIN
        false_rate, true_rate, _ = roc_curve(own, score)
        precision, found, _ = precision_recall_curve(own, score)
        areas = f"AUC {roc_auc_score(own, score):.3f}, AUPRC {average_precision_score(own, score):.3f}"
        (line,) = roc.plot(100 * false_rate, 100 * true_rate, **style)
        recall.step(100 * found, 100 * precision, where="post", **style)
        lines[f"{names[c]}: {areas}"] = line
    roc.plot([0, 100], [0, 100], color=GREY, linestyle=":", linewidth=1)
    _finish(roc, "1 − specificity (%)", "sensitivity (%)")
    _finish(recall, "sensitivity, recall (%)", "PPV, precision (%)")
    _reliability(reliability, confidence, right)
    if named:
        legend_below(figure, list(lines.values()), list(lines))
    if title:
        add_title(figure, title)
    return figure


THIN = {"color": GREY, "linewidth": 0.6}


def _reliability(axes: Axes, confidence: np.ndarray, right: np.ndarray) -> None:
    bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    filled = counts > 0
    means = [np.bincount(bins, weights=values, minlength=BINS)[filled] for values in (confidence, right)]
    expected, accuracy = (total / counts[filled] for total in means)
    centres = 100 * (np.arange(BINS) + 0.5) / BINS
    axes.bar(centres, 100 * counts / counts.sum(), width=100 / BINS, color="0.88", label="share of images")
    axes.plot([0, 100], [0, 100], color=GREY, linestyle=":", linewidth=1)
    error = float(np.abs(expected - accuracy) @ counts[filled] / counts.sum())
    axes.plot(
        100 * expected, 100 * accuracy, color=PALETTE[0], marker="o", markersize=3, label=f"ECE {error:.3f}"
    )
    _finish(axes, "confidence (%)", "accuracy (%)")
    axes.legend(fontsize=CELL_TEXT, frameon=False, loc="upper left")


def _finish(axes: Axes, x: str, y: str) -> None:
    axes.set(xlim=(-2, 102), ylim=(-2, 102))
    label_axes(axes, x, y, grid=False)

"""Curves of scores against labels: ROC, precision and recall, and reliability."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .style import GREY, PALETTE, new_figure, open_frame

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
    figure = new_figure(10.5, 3.6)
    roc, recall, reliability = figure.subplots(1, 3)
    named = len(known) <= NAMED_UP_TO
    for place, c in enumerate(known):
        score, own = scores[:, c], positive[:, c]
        style = {"color": PALETTE[place % len(PALETTE)], "linewidth": 1.3} if named else THIN
        if named and place >= len(PALETTE):
            style["linestyle"] = "--"
        false_rate, true_rate, _ = roc_curve(own, score)
        roc.plot(false_rate, true_rate, label=f"{names[c]}: {roc_auc_score(own, score):.3f}", **style)
        precision, found, _ = precision_recall_curve(own, score)
        area = average_precision_score(own, score)
        recall.step(found, precision, where="post", label=f"{names[c]}: {area:.3f}", **style)
    roc.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1)
    _finish(roc, "1 − specificity", "sensitivity", "AUC" if named else None)
    _finish(recall, "sensitivity (recall)", "PPV (precision)", "AUPRC" if named else None)
    _reliability(reliability, confidence, right)
    if title:
        figure.suptitle(title, fontsize=10)
    return figure


THIN = {"color": GREY, "linewidth": 0.6}


def _reliability(axes: Axes, confidence: np.ndarray, right: np.ndarray) -> None:
    bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    filled = counts > 0
    means = [np.bincount(bins, weights=values, minlength=BINS)[filled] for values in (confidence, right)]
    expected, accuracy = (total / counts[filled] for total in means)
    centres = (np.arange(BINS) + 0.5) / BINS
    axes.bar(centres, counts / counts.sum(), width=1 / BINS, color="0.88", label="share of images")
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1)
    error = float(np.abs(expected - accuracy) @ counts[filled] / counts.sum())
    axes.plot(expected, accuracy, color=PALETTE[0], marker="o", markersize=4, label=f"ECE {error:.3f}")
    _finish(axes, "confidence", "accuracy", "")


def _finish(axes: Axes, x: str, y: str, legend: str | None) -> None:
    """Set labels and limits; ``legend`` is the title of a legend, None for no legend."""
    axes.set(xlabel=x, ylabel=y, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.tick_params(labelsize=8)
    open_frame(axes)
    if legend is not None:
        axes.legend(title=legend or None, fontsize=7, title_fontsize=8, frameon=False)

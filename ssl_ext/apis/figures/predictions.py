"""Figure of the scores of one result row: ROC, precision-recall and reliability curves."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ssl_ext.errors import UserError, user_errors
from ssl_ext.evaluation import Predictions, ResultRow, read_results
from ssl_ext.visualization import prediction_panels

from .choice import choose, conditions


def predictions_figure(
    results: str | os.PathLike, *, which: str = "last", where: Sequence[str] = ()
) -> Figure:
    """Draw the curves of a measurement (first seed and draw) from its stored scores.

    Args:
        results: A ``results.json`` with the folder ``predictions`` beside it.
        which: ``'last'`` epoch, or the ``'best'`` one (chosen on validation data).
        where: ``key=value`` with a key of :data:`.choice.KEYS`, to select a measurement, seed or draw.

    Raises:
        UserError: No or several measurements match, or only the largest scores were stored.
    """
    rows = [row for row in read_results(results) if row.predictions is not None]
    words, (row, *_) = choose(results, rows, conditions(where), "measurements with scores of images")
    predictions = Predictions.load(Path(results).parent / str(row.predictions))
    drawn = panel_data(row, predictions, which)
    repeated = f"seed {row.seed}" + ("" if row.draw is None else f", draw {row.draw}")
    title = f"{words}, {which} epoch, {repeated}: {100 * getattr(row, which)['acc']:.2f} % correct"
    with user_errors("predictions"):
        return prediction_panels(**drawn, title=title)


def panel_data(row: ResultRow, predictions: Predictions, which: str) -> dict[str, Any]:
    """Arguments of :func:`ssl_ext.visualization.prediction_panels` for the reported images of a row.

    Raises:
        UserError: Only the largest scores were stored.
    """
    weighted = predictions.weighted(which)
    if weighted.scores is None:
        raise UserError(
            f"'{row.predictions}' holds only the largest scores of {predictions.num_classes} classes, too "
            "few for curves."
        )
    names = row.source.get("classes") or list(map(str, range(predictions.num_classes)))
    positive = [weighted.is_positive(column) for column in range(weighted.scores.shape[1])]
    return {
        "scores": weighted.scores,
        "positive": np.stack(positive, axis=1),
        "names": names[1:] if predictions.task == "binary" else names,
        "confidence": confidence(weighted.scores, predictions.task).reshape(-1),
        "right": (predictions.labels == weighted.predicted).reshape(-1),
    }


def confidence(scores: np.ndarray, task: str) -> np.ndarray:
    """Probabilities (N,) of the predicted classes, or (N, L) of the predictions of each label."""
    if task == "multi-label":
        return np.maximum(scores, 1 - scores)
    return np.maximum(scores, 1 - scores)[:, 0] if task == "binary" else scores.max(axis=1)

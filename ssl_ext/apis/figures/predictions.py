"""Figure of the scores of one result row: ROC, precision-recall and reliability curves."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ssl_ext.errors import UserError, user_errors
from ssl_ext.evaluation import Predictions, read_results
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
    weighted = predictions.weighted(which)
    if weighted.scores is None:
        raise UserError(
            f"'{row.predictions}' holds only the largest scores of {predictions.num_classes} classes, too "
            "few for curves."
        )
    scores, binary = weighted.scores, predictions.task == "binary"
    columns = range(scores.shape[1])
    names = row.source.get("classes") or list(map(str, range(predictions.num_classes)))
    labels, predicted = predictions.labels, weighted.predicted
    # Confidence in the predicted class, or in the prediction of each label.
    single = not binary and predictions.task != "multi-label"
    sure = scores.max(axis=1) if single else np.maximum(scores, 1 - scores)
    repeated = f"seed {row.seed}" + ("" if row.draw is None else f", draw {row.draw}")
    with user_errors("predictions"):
        return prediction_panels(
            scores,
            np.stack([weighted.is_positive(column) for column in columns], axis=1),
            names[1:] if binary else names,
            confidence=sure.reshape(-1),
            right=(labels == predicted).reshape(-1),
            title=f"{words}, {which} epoch, {repeated}: {100 * getattr(row, which)['acc']:.2f} % correct",
        )

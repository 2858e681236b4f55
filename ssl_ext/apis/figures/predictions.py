"""The figure of a row's scores: ROC, precision and recall, reliability."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ssl_ext.errors import UserError, user_errors
from ssl_ext.evaluation import Condition, Predictions, read_results
from ssl_ext.visualization import prediction_panels


def predictions_figure(
    results: str | os.PathLike, *, protocol: str | None = None, method: str | None = None, which: str = "last"
) -> Figure:
    """Curves of the first row of a result file that fits, from its stored scores of images.

    Args:
        results: File ``results.json``, beside its folder ``predictions``.
        protocol: Of the row.
        method: Of the row.
        which: ``'last'`` epoch, or the ``'best'`` one (chosen on validation data).

    Raises:
        UserError: No row that fits, or one of which only the largest scores are kept.
    """
    rows = [row for row in read_results(results) if row.predictions is not None]
    fitting = [row for row in rows if protocol in (None, row.protocol) and method in (None, row.method)]
    if not fitting:
        found = ", ".join(dict.fromkeys(f"{row.method} {row.protocol}" for row in rows)) or "none"
        raise UserError(f"'{results}' has no such row with scores of images; there are: {found}.")
    row = fitting[0]
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
    # Of the predicted class, or of the prediction of each label.
    single = not binary and predictions.task != "multi-label"
    sure = scores.max(axis=1) if single else np.maximum(scores, 1 - scores)
    words = f"{row.method}, {Condition.from_row(row).words}"
    with user_errors("predictions"):
        return prediction_panels(
            scores,
            np.stack([weighted.is_positive(column) for column in columns], axis=1),
            names[1:] if binary else names,
            confidence=sure.reshape(-1),
            right=(labels == predicted).reshape(-1),
            title=f"{words}: {100 * getattr(row, which)['acc']:.2f} % right",
        )

"""Figures of logs and results: training curves, and bar charts of accuracies."""

from __future__ import annotations

import os
from collections.abc import Sequence

from matplotlib.figure import Figure

from ssl_ext.errors import user_errors
from ssl_ext.evaluation import aggregate, read_results
from ssl_ext.files import distinct_names
from ssl_ext.visualization import loss_curves, read_scalars, scores_bar


def curves_figure(
    runs: Sequence[str | os.PathLike],
    *,
    keys: Sequence[str] | None = None,
    smoothing: float | None = 0.6,
    x: str = "iteration",
) -> Figure:
    """Logged values of runs over iterations, epochs or hours (Fig. 2 of TriMix, Fig. 5 of AMix).

    Args:
        runs: Work directories; each is named by the distinctive part of its path.
        keys: Logged names to draw; by default the loss and each of its terms. Their validation values
            (``val_…``) are drawn too.
        smoothing: Weight in [0, 1) of a moving average; 0 draws the raw lines.
        x: ``'iteration'``, ``'epoch'``, or ``'hours'`` of training for figures logged with them.

    Raises:
        UserError: A run without a log, or a name that no run has logged.
    """
    with user_errors("runs"):
        return loss_curves(
            {name: read_scalars(run) for name, run in zip(distinct_names(runs), runs, strict=True)},
            keys,
            smoothing,
            x,
        )


def scores_figure(results: Sequence[str | os.PathLike], *, which: str = "last") -> Figure:
    """Accuracies of evaluations as bars, with the standard deviation over draws and seeds.

    Args:
        results: ``results.json`` files of evaluations.
        which: ``'last'`` epoch, or the ``'best'`` one (chosen on validation data).

    Raises:
        UserError: A file is missing or has no result rows.
    """
    bars: list[tuple[str, float, float | None]] = []
    names = distinct_names(results) if len(results) > 1 else [""]
    for name, path in zip(names, results, strict=True):
        for method, cells in aggregate(read_results(path), which=which).items():
            for condition, stat in cells.items():
                words = [condition.words] if condition.protocol == method else [method, condition.words]
                label = (f"{name}: " if name else "") + ", ".join(words)
                bars.append((label, 100 * stat.mean, 100 * stat.std if stat.n > 1 else None))
    with user_errors("results"):
        return scores_bar(bars)

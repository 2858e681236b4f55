"""Figures of logs and results: training curves, and bar charts of accuracies."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ssl_ext.errors import UserError, user_errors
from ssl_ext.evaluation import aggregate, read_results
from ssl_ext.evaluation.tables import repeats
from ssl_ext.visualization import loss_curves, read_scalars, scores_bar

from .choice import conditions, fits
from .titles import path_titles

TRAINED = ("loss", "acc")
"""Figures of classifiers that are drawn by default."""
Records = Sequence[Mapping[str, float]]


def curves_figure(
    runs: Sequence[str | os.PathLike],
    *,
    titles: Sequence[str] | None = None,
    keys: Sequence[str] | None = None,
    smoothing: float | None = 0.6,
    x: str = "iteration",
    where: Sequence[str] = (),
) -> Figure:
    """Logged values of runs over iterations, epochs or hours (Fig. 2 of TriMix, Fig. 5 of AMix).

    Of a ``results.json`` the training of every fine-tuned and supervised network is drawn, as the mean over
    seeds and draws of its figures at the validation checks (Figs. 3.1 and 7.2 of the medical thesis).

    Args:
        runs: Work directories, or ``results.json`` files.
        titles: Names of the runs; by default the distinctive parts of their paths.
        keys: Logged names to draw; by default the loss and each of its terms, and of results ``loss`` and
            ``acc``. Their validation values (``val_…``) are drawn too.
        smoothing: Weight in [0, 1) of a moving average; 0 draws the raw lines.
        x: ``'iteration'``, ``'epoch'``, or ``'hours'`` of training for figures logged with them.
        where: ``key=value`` with a key of :data:`.choice.KEYS`, to select measurements of result files.

    Raises:
        UserError: A run without a log, or a name that no run has logged.
    """
    results = [run for run in runs if Path(run).is_file()]
    wanted = conditions(where)
    if wanted and not results:
        raise UserError("--where selects measurements of a results.json, but no run is one.")
    found: dict[str, Records] = {}
    with user_errors("runs"):
        for name, run in zip(path_titles(runs, titles), runs, strict=True):
            if run in results:
                prefix = f"{name}: " if len(runs) > 1 else ""
                found |= {prefix + words: records for words, records in _trainings(run, wanted).items()}
            else:
                found[name] = read_scalars(run)
        if keys is None and len(results) == len(runs):
            keys = TRAINED
        return loss_curves(found, keys, smoothing, x)


def _trainings(path: str | os.PathLike, wanted: Mapping[str, str]) -> dict[str, Records]:
    """Records of the trained networks of a result file, averaged over repeats, by measurement."""
    found: dict[str, Records] = {}
    for name, cells in repeats([row for row in read_results(path) if row.curves]).items():
        for condition, members in cells.items():
            kept = [row for row in members if fits(row, name, wanted)]
            if not kept:
                continue
            steps, words = kept[0].curves["step"], condition.of(name)
            if any(row.curves["step"] != steps for row in kept):
                raise UserError(f"'{path}': trainings of {words} have different lengths: choose by --where.")
            means = {key: np.mean([row.curves[key] for row in kept], axis=0) for key in kept[0].curves}
            found[words] = [
                dict(zip(means, values, strict=True))
                for values in zip(*(mean.tolist() for mean in means.values()), strict=True)
            ]
    if not found:
        raise UserError(f"'{path}' has no matching training: fine-tuned and supervised networks have curves.")
    return found


def scores_figure(
    results: Sequence[str | os.PathLike], *, titles: Sequence[str] | None = None, which: str = "last"
) -> Figure:
    """Accuracies of evaluations as bars by method, with the standard deviation over draws and seeds.

    Args:
        results: ``results.json`` files of evaluations.
        titles: Names of the files; by default the distinctive parts of their paths.
        which: ``'last'`` epoch, or the ``'best'`` one (chosen on validation data).

    Raises:
        UserError: A file is missing or has no result rows.
    """
    bars: list[tuple[str, str, float, float | None]] = []
    names = path_titles(results, titles) if len(results) > 1 or titles else [""]
    for name, path in zip(names, results, strict=True):
        for method, cells in aggregate(read_results(path), which=which).items():
            for condition, stat in cells.items():
                deviation = 100 * stat.std if stat.n > 1 else None
                heading = f"{name}: {method}" if name else method
                bars.append((heading, condition.words, 100 * stat.mean, deviation))
    with user_errors("results"):
        return scores_bar(bars)

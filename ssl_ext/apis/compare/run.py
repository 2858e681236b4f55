"""Compare the results of two evaluations: two models, or two methods over pretraining seeds."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from ssl_ext.apis.report.grid import Grid
from ssl_ext.errors import UserError
from ssl_ext.evaluation.metric_names import CLUSTERING, QUALITY
from ssl_ext.evaluation.stats import shown_metrics

from .methods import compare_methods
from .models import compare_models
from .sides import paired, read_side


def compare(
    first: str | os.PathLike,
    second: str | os.PathLike,
    *,
    methods: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
    which: str = "last",
) -> list[Grid]:
    """Compare the measurements that two evaluations share, under equal settings.

    With one checkpoint (or baseline) on each side, two models are compared on the same test images from
    their stored scores: paired bootstrap over images or groups, McNemar's exact test and DeLong's test. With
    several checkpoints on a side, two methods are compared over shared pretraining seeds.

    Args:
        first: Side A: a ``results.json``, or a folder that is searched for such files.
        second: Side B, like ``first``.
        methods: Method to compare on each side; by default the only method with a checkpoint.
        metrics: Metrics to compare; by default accuracy and AUC, balanced accuracy for imbalanced classes,
            and kappa for ordinal classes.
        which: ``'last'`` epoch, or the ``'best'`` epoch on validation.

    Raises:
        UserError: The sides share no measurement, or a method or metric is unknown.
    """
    if which not in ("last", "best"):
        raise UserError(f"which={which!r}: allowed are last, best.")
    if methods is not None and len(methods) != 2:
        raise UserError(f"--methods {' '.join(methods)}: give two names, one for A and one for B.")
    names = methods or (None, None)
    sides = read_side(first, names[0]), read_side(second, names[1])
    pairs, notes = paired(*sides)
    rows = [row for pair in pairs for row in (*pair.first, *pair.second)]
    known = {name for row in rows for name, value in getattr(row, which).items() if isinstance(value, float)}
    if unknown := [metric for metric in metrics or () if metric not in known]:
        raise UserError(
            f"--metric {unknown[0]}: no row has this metric; available are {', '.join(sorted(known))}."
        )
    several = any(len(side.checkpoints) > 1 for side in sides)
    shown = metrics or [metric for metric in shown_metrics(rows)[0] if metric in known]
    if several:
        tables = compare_methods(sides, pairs, metrics=shown, which=which)
    else:
        pairs = [pair for pair in pairs if "acc" in getattr(pair.first[0], which)]
        if not pairs or set(shown) & set(CLUSTERING + QUALITY):
            raise UserError(
                "Two models can only be compared by classification metrics, for which scores are stored."
            )
        tables = compare_models(sides, pairs, metrics=shown, which=which)
    return [replace(tables[0], notes=[*tables[0].notes, *notes]), *tables[1:]]

"""Scores over numbers of labels, with a fitted power law and its extrapolation."""

from __future__ import annotations

import csv
import io
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import print_log

from ssl_ext.config.data import build_evaluation_splits
from ssl_ext.config.load import load_config
from ssl_ext.errors import UserError
from ssl_ext.escape import spreadsheet
from ssl_ext.evaluation import METRICS, labelled_rows
from ssl_ext.evaluation.balance import KEY
from ssl_ext.evaluation.label_curves import Curve, curves_of, selection_words
from ssl_ext.evaluation.power_law import FEWEST
from ssl_ext.evaluation.predictions import EPOCHS
from ssl_ext.files import write_text
from ssl_ext.names import BUDGETS
from ssl_ext.values import is_number
from ssl_ext.visualization import save_figure
from ssl_ext.visualization.label_curves import label_curves

from .evaluate import evaluate
from .evaluate.checks import check_groups

METRIC_NAMES = ("acc", "balanced_acc", "auc", "auprc", "kappa", "f1")
NAME = "label_curve"
ALL = "all"


def label_curve(
    config: Config | str | os.PathLike,
    checkpoint: str | os.PathLike | None,
    *,
    budgets: Sequence[int | str] = BUDGETS,
    draws: int = 5,
    seeds: Sequence[int] = (0,),
    modes: Sequence[str] = ("frozen",),
    supervised: bool = True,
    metric: str = "acc",
    which: str = "last",
    by: str = "image",
    next_budget: float | None = None,
    balance: str | Sequence[float] | None = None,
    out_dir: str | os.PathLike = NAME,
    device: str | torch.device | None = None,
    allow_partial: bool = False,
    ema: bool = False,
    options: dict | None = None,
) -> tuple[list[Curve], list[Path]]:
    """Measure a score over numbers of labels, and extrapolate it by error = a · n^(−b) + c.

    The measurements are those of the protocol ``budget`` with the baseline ``supervised``
    (:func:`ssl_ext.apis.evaluate`), in ``out_dir/results.json``; those that the file has already, of the same
    config, weights and data, are not repeated. Numbers that reach the labels of the train split are measured
    once, as ``'all'``. Points, files and figure also name the number of validation labels that settings or
    epochs were selected on, which are not among the numbers drawn. ``label_curve.png``, ``.pdf``, ``.csv``
    and ``.json`` are written to ``out_dir``.

    Args:
        config: Config with ``evaluation_dataset``.
        checkpoint: Pretrained weights; None for random ones.
        budgets: Three or more numbers of labels (of groups with ``by='group'``), or ``'all'``.
        draws: Draws of each number of labels and seed.
        seeds: Seeds.
        modes: ``'frozen'`` and/or ``'unfrozen'`` backbone.
        supervised: Also train from random weights.
        metric: Name in :data:`METRIC_NAMES`; ``'kappa'`` for ordinal classes.
        which: ``'last'`` epoch, or the ``'best'`` on validation.
        by: ``'image'`` or ``'group'``.
        next_budget: Number of labels to extrapolate to, above the largest one; default: twice that.
        balance: See :func:`ssl_ext.apis.evaluate`.
        out_dir: Output folder.
        device: Default CUDA if available.
        allow_partial: Accept a checkpoint that lacks tensors of the backbone.
        ema: Load EMA weights.
        options: Config keys to override.

    Raises:
        UserError: Fewer than three different numbers of labels, an unknown metric, or an error of
            ``evaluate``.
    """
    asked = [one if one == ALL else _whole(one, "--budgets", ", or all,") for one in dict.fromkeys(budgets)]
    if len(asked) < FEWEST:
        listed = " ".join(map(str, asked))
        raise UserError(f"--budgets {listed}: a curve needs at least {FEWEST} different numbers.")
    if metric not in METRIC_NAMES:
        raise UserError(f"--metric {metric!r}: allowed are {', '.join(METRIC_NAMES)}.")
    if which not in EPOCHS:
        raise UserError(f"--which {which!r}: allowed are {', '.join(EPOCHS)}.")
    following = None if next_budget is None else _whole(next_budget, "--next")
    changed = {**(options or {}), **({} if balance is None else {KEY: balance})}
    loaded = load_config(config, changed, required=("model", "evaluation_dataset"))
    unit = "groups" if by == "group" else "labels"
    available = _available(loaded, metric, by)
    kept = _different(asked, available, unit)
    largest = available if ALL in kept else max(map(int, kept))
    if following is not None and following <= largest:
        raise UserError(
            f"--next {following}: a number of {unit} above {largest}, the largest measured one, is needed."
        )
    rows = evaluate(
        loaded, checkpoint, protocols=["budget"], budgets=kept, draws=draws, seeds=seeds, modes=modes, by=by,
        baselines=["supervised"] if supervised else [], out_dir=out_dir, device=device,
        allow_partial=allow_partial, ema=ema, resume=True,
    )  # fmt: skip
    curves = curves_of(rows, metric, which, available=available, next_budget=following)
    return curves, _write(Path(out_dir), curves, metric, which, unit)


def _whole(value: Any, option: str, more: str = "") -> int:
    """A whole number of at least 1, also given as a float."""
    value = value.item() if isinstance(value, np.generic) else value
    if not is_number(value) or value < 1 or value != int(value):
        raise UserError(f"{option} {value}: a whole number above 0{more} is needed.")
    return int(value)


def _available(config: Config, metric: str, by: str) -> int:
    """Number of labels (or groups with a label) of the train split.

    Raises:
        UserError: Data without groups for ``by='group'``, or without ordinal classes for kappa.
    """
    splits = build_evaluation_splits(config, test=False)
    task = splits.train.task
    if metric == "kappa" and task != "ordinal":
        raise UserError(f"--metric kappa needs ordinal classes, but evaluation_dataset.task is {task!r}.")
    known = labelled_rows(torch.as_tensor(splits.train.labels).cpu()).numpy()
    if by != "group":
        return int(known.sum())
    check_groups(splits)
    assert splits.groups is not None
    return len(np.unique(splits.groups[known]))


def _different(budgets: Sequence[int | str], available: int, unit: str) -> list[int | str]:
    """Budgets below the available number, then ``'all'`` for those that reach it; reported if any is changed.

    Raises:
        UserError: Fewer than three are left.
    """
    below = [one for one in budgets if isinstance(one, int) and one < available]
    reached = [one for one in budgets if one not in below]
    kept: list[int | str] = [*below, *([ALL] if reached else [])]
    if len(kept) < FEWEST:
        typed = " ".join(map(str, budgets))
        parts = sorted({available * share // 8 for share in (1, 2, 4)} - {0})
        such = f", such as --budgets {' '.join(map(str, parts))} {ALL}" if len(parts) + 1 >= FEWEST else ""
        raise UserError(
            f"--budgets {typed}: evaluation_dataset has {available} {unit} to train on; "
            f"a curve needs at least {FEWEST} different numbers up to {available}{such}."
        )
    if reached not in ([], [ALL]):
        print_log(
            f"--budgets {' '.join(map(str, reached))}: evaluation_dataset has {available} {unit} to train "
            "on; all of them are measured once.",
            logger="current",
            level=logging.WARNING,
        )
    return kept


def _write(folder: Path, curves: Sequence[Curve], metric: str, which: str, unit: str) -> list[Path]:
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(["curve", "kind", unit, metric, "low", "high", "draws", "selection_labels"])
    content: dict[str, Any] = {"metric": metric, "epoch": which, "unit": unit, "curves": []}
    for curve in curves:
        law, expected = curve.law, curve.expected
        kinds = [("measured", point) for point in curve.points]
        kinds += [("extrapolated", expected)] if expected else []
        for kind, point in kinds:
            measured = [point.draws, point.selection_labels] if point.draws else ["", ""]
            ends = point.ends or ("", "")
            lines.writerow([spreadsheet(curve.name), kind, point.n, point.mean, *ends, *measured])
        content["curves"].append(
            {
                "name": curve.name,
                "points": [asdict(point) for point in curve.points],
                "law": law and {"error": "a * n**-b + c", "a": law.a, "b": law.b, "c": law.c},
                "extrapolated": expected and asdict(expected),
            }
        )
    paths = [folder / f"{NAME}.csv", folder / f"{NAME}.json"]
    for path, words in zip(
        paths, (text.getvalue(), json.dumps(content, indent=2, allow_nan=False)), strict=True
    ):
        write_text(path, words)
    label, scale, _, _ = METRICS[metric]
    every = [point for curve in curves for point in curve.points]
    bars = "bars: over draws" if any(point.draws > 1 for point in every) else ""
    if any(point.draws == 1 and point.ends for point in every):
        bars += f"{', but ' if bars else 'bars: '}over test images of a single measurement"
    figure = label_curves(
        {
            curve.name: (
                [(point.n, point.mean, point.ends) for point in curve.points],
                curve.score,
                None if (found := curve.expected) is None else (found.n, found.mean, found.ends),
            )
            for curve in curves
        },
        label=label, unit=unit, scale=scale,
        notes=[one for one in (selection_words(every), bars) if one],
    )  # fmt: skip
    return [*save_figure(figure, folder / NAME), *paths]

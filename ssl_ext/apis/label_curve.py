"""Scores over numbers of labels, with a fitted power law and its extrapolation."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config

from ssl_ext.errors import UserError, user_errors
from ssl_ext.escape import spreadsheet
from ssl_ext.evaluation import METRICS, ResultRow
from ssl_ext.evaluation.bootstrap import LEVEL
from ssl_ext.evaluation.power_law import FEWEST, PowerLaw, fit_power_law
from ssl_ext.files import write_text
from ssl_ext.names import BUDGETS
from ssl_ext.visualization import save_figure
from ssl_ext.visualization.label_curves import label_curves

from .evaluate import evaluate

METRIC_NAMES = ("acc", "balanced_acc", "auc", "auprc", "kappa", "f1")
NAME = "label_curve"


@dataclass(frozen=True)
class Point:
    """Mean score of the draws of ``n`` labels (or groups) and its 95 % interval (None: unknown)."""

    n: int
    mean: float
    ends: tuple[float, float] | None
    draws: int


@dataclass(frozen=True)
class Curve:
    """Scores of one way of training, their power law, and the score that it gives for ``next_n`` labels."""

    name: str
    points: Sequence[Point]
    law: PowerLaw
    next_n: int

    def score(self, n: np.ndarray) -> np.ndarray:
        """Fitted score of numbers of labels."""
        return 1 - self.law.error(n)

    @property
    def expected(self) -> Point:
        """Extrapolated score; its interval is that of the fit over the draws."""
        ends = self.law.interval(self.next_n)
        return Point(
            self.next_n, 1 - float(self.law.error(self.next_n)), ends and (1 - ends[1], 1 - ends[0]), 0
        )

    def sentence(self, metric: str, unit: str) -> str:
        """The extrapolation in words."""
        label, scale, digits, _ = METRICS[metric]
        last, found = self.points[-1], self.expected
        ends = ""
        if found.ends is not None:
            ends = " [" + ", ".join(f"{scale * end:.{digits}f}" for end in found.ends) + "]"
        name, percent = label.removesuffix(" %"), " %" * label.endswith(" %")
        return (
            f"{self.name}: {self.next_n} {unit} would bring {name} {scale * found.mean:.{digits}f}{ends}"
            f"{percent}, after {scale * last.mean:.{digits}f}{percent} with {last.n}. "
            "This extrapolates the fitted law; its "
            "interval covers the draws alone: it is too narrow if the law does not hold." + self._doubt()
        )

    def _doubt(self) -> str:
        """Signs that the law does not hold, in words."""
        words = ""
        best = max(self.points, key=lambda point: point.mean)
        if self.expected.mean < best.mean and self.next_n > best.n:
            words += f" The law does not fit: {best.n} measured ones already gave more."
        outside = [
            point.n
            for point in self.points
            if point.ends
            and not point.ends[0] - 1e-3 <= self.score(np.array(point.n)) <= point.ends[1] + 1e-3
        ]
        if outside:
            listed = ", ".join(map(str, outside))
            words += f" The law misses the interval of the draws at {listed}: do not rely on it."
        return words


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
    next_budget: int | None = None,
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
    config, weights and data, are not repeated. ``label_curve.png``, ``.pdf``, ``.csv`` and ``.json`` are
    written to ``out_dir``.

    Args:
        config: Config with ``evaluation_dataset``.
        checkpoint: Pretrained weights; None for random ones.
        budgets: Three or more numbers of labels (of groups with ``by='group'``), or ``'all'``.
        draws: Draws of each number of labels and seed.
        seeds: Seeds.
        modes: ``'frozen'`` and/or ``'unfrozen'`` backbone.
        supervised: Also train from random weights.
        metric: Name in :data:`METRIC_NAMES`.
        which: ``'last'`` epoch, or the ``'best'`` on validation.
        by: ``'image'`` or ``'group'``.
        next_budget: Number of labels to extrapolate to; default: twice the largest one.
        balance: See :func:`ssl_ext.apis.evaluate`.
        out_dir: Output folder.
        device: Default CUDA if available.
        allow_partial: Accept a checkpoint that lacks tensors of the backbone.
        ema: Load EMA weights.
        options: Config keys to override.

    Raises:
        UserError: Fewer than three numbers of labels, an unknown metric, or an error of ``evaluate``.
    """
    if len(set(budgets)) < FEWEST:
        listed = " ".join(map(str, budgets))
        raise UserError(f"--budgets {listed}: a curve needs at least {FEWEST} numbers of labels.")
    if metric not in METRIC_NAMES:
        raise UserError(f"--metric {metric!r}: allowed are {', '.join(METRIC_NAMES)}.")
    if next_budget is not None and next_budget < 1:
        raise UserError(f"--next {next_budget}: a number of labels above 0 is needed.")
    if by == "group" and "all" in budgets:
        raise UserError("--budgets all has no number of groups: give the number of groups instead.")
    rows = evaluate(
        config, checkpoint, protocols=["budget"], budgets=budgets, draws=draws, seeds=seeds, modes=modes,
        by=by, baselines=["supervised"] if supervised else [], out_dir=out_dir, device=device,
        balance=balance, allow_partial=allow_partial, ema=ema, options=options, resume=True,
    )  # fmt: skip
    curves = curves_of(rows, metric, which, next_budget)
    unit = "groups" if by == "group" else "labels"
    return curves, _write(Path(out_dir), curves, metric, which, unit)


def curves_of(rows: Sequence[ResultRow], metric: str, which: str, next_budget: int | None) -> list[Curve]:
    """Curves of result rows, by method and mode.

    Raises:
        UserError: A score is missing, or fewer than three different numbers of labels could be drawn.
    """
    found: dict[str, dict[int, list[ResultRow]]] = {}
    for row in rows:
        name = row.method if row.protocol == "supervised" else f"{row.method}, {row.mode}"
        count = row.sizes["train"]
        if row.balance == "undersampling":  # it trains on a part of the budget
            count = row.budget or count
        found.setdefault(name, {}).setdefault(count, []).append(row)
    curves = []
    for name, cells in found.items():
        scores = {
            n: [getattr(row, which).get(metric, float("nan")) for row in own] for n, own in cells.items()
        }
        if not all(np.isfinite(one).all() for one in scores.values()):
            raise UserError(f"--metric {metric}: {name} has no such score for every number of labels.")
        points = [_point(n, scores[n], cells[n], metric, which) for n in sorted(scores)]
        with user_errors(name):
            law = fit_power_law({n: [1 - score for score in own] for n, own in scores.items()})
        curves.append(Curve(name, points, law, next_budget or 2 * points[-1].n))
    return curves


def _point(n: int, scores: Sequence[float], rows: Sequence[ResultRow], metric: str, which: str) -> Point:
    """Mean over draws with Student's interval; of a single one the interval over test images."""
    from scipy import stats

    mean, count = float(np.mean(scores)), len(scores)
    if count == 1:
        ends = (rows[0].intervals.get(which) or {}).get(metric)
        return Point(n, mean, (ends[0], ends[1]) if ends and np.isfinite(ends).all() else None, 1)
    half = float(stats.t.ppf((1 + LEVEL) / 2, count - 1) * np.std(scores, ddof=1) / count**0.5)
    return Point(n, mean, (mean - half, mean + half), count)


def _write(folder: Path, curves: Sequence[Curve], metric: str, which: str, unit: str) -> list[Path]:
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(["curve", "kind", unit, metric, "low", "high", "draws"])
    content: dict[str, Any] = {"metric": metric, "epoch": which, "unit": unit, "curves": []}
    for curve in curves:
        kinds = [("measured", point) for point in curve.points] + [("extrapolated", curve.expected)]
        for kind, point in kinds:
            ends = point.ends or ("", "")
            lines.writerow([spreadsheet(curve.name), kind, point.n, point.mean, *ends, point.draws or ""])
        content["curves"].append(
            {
                "name": curve.name,
                "points": [asdict(point) for point in curve.points],
                "law": {"error": "a * n**-b + c", "a": curve.law.a, "b": curve.law.b, "c": curve.law.c},
                "extrapolated": asdict(curve.expected),
            }
        )
    paths = [folder / f"{NAME}.csv", folder / f"{NAME}.json"]
    for path, words in zip(
        paths, (text.getvalue(), json.dumps(content, indent=2, allow_nan=False)), strict=True
    ):
        write_text(path, words)
    label, scale, _, _ = METRICS[metric]
    figure = label_curves(
        {
            curve.name: (
                [(point.n, point.mean, point.ends) for point in curve.points],
                curve.score,
                (curve.next_n, curve.expected.mean, curve.expected.ends),
            )
            for curve in curves
        },
        label=label, unit=unit, scale=scale,
    )  # fmt: skip
    return [*save_figure(figure, folder / NAME), *paths]

"""Comparison of two methods over pretraining seeds."""

from __future__ import annotations

from collections.abc import Sequence

from ssl_ext.apis.report.grid import Grid
from ssl_ext.apis.report.text import metric_label
from ssl_ext.errors import UserError
from ssl_ext.evaluation import METRICS
from ssl_ext.evaluation.metric_names import Metric
from ssl_ext.evaluation.significance import (
    T_FROM,
    WILCOXON_FROM,
    SeedDifference,
    holm,
    over_seeds,
    seed_difference,
)

from .sides import Pair, Side
from .words import difference_text, p_text


def compare_methods(
    sides: tuple[Side, Side], pairs: Sequence[Pair], *, metrics: Sequence[str], which: str
) -> list[Grid]:
    """Compare two methods over shared pretraining seeds, with p-values corrected by Holm.

    Raises:
        UserError: Fewer than two pretraining seeds are shared.
    """
    found: list[tuple[Pair, str, list[float], list[float], SeedDifference]] = []
    for pair in pairs:
        for metric in metrics:
            first, second = over_seeds(pair.first, pair.second, metric, which)
            if len(first) > 1:
                found.append((pair, metric, first, second, seed_difference(first, second)))
    if not found:
        seeds = [", ".join(map(str, sorted(side.seeds))) or "none" for side in sides]
        raise UserError(
            f"{sides[0].name} has the pretraining seeds {seeds[0]}, {sides[1].name} has {seeds[1]}: "
            "comparing methods needs two or more shared seeds. To compare two models, give one run per side."
        )
    tests = (_corrected([one.t_p for *_, one in found]), _corrected([one.wilcoxon_p for *_, one in found]))
    rows = []
    for (pair, name, first, second, difference), t_p, wilcoxon_p in zip(found, *tests, strict=True):
        unit = METRICS.get(name, Metric(name))
        means = [f"{unit.scale * sum(values) / len(values):.{unit.digits}f}" for values in (first, second)]
        more = "-" if difference.more_seeds is None else str(difference.more_seeds)
        rows.append(
            [
                f"{pair.data}, {pair.condition.words}", metric_label(name),
                difference_text(difference.mean, difference.ends, unit), *means, str(difference.n),
                p_text(t_p), p_text(wilcoxon_p), more,
            ]
        )  # fmt: skip
    header = ["measurement", "metric", "A − B", "A", "B", "seeds", "t", "Wilcoxon", "more seeds"]
    count = sum(one.t_p is not None for *_, one in found)
    notes = [
        "A − B is the mean over pretraining seeds, with its 95 % interval (Student's t).",
        f"t: p-value of the paired t-test (at least {T_FROM} seeds); Wilcoxon: p-value of the signed-rank "
        f"test (at least {WILCOXON_FROM}); both with Holm's correction for the {count} tests of the table.",
        "more seeds: additional seeds that a paired t-test at 5 % needs to detect a true difference of this "
        "size with a power of 80 %.",
    ]
    title = f"{sides[0].name} (A) and {sides[1].name} (B) over pretraining seeds"
    return [Grid(title, header, rows, 2, notes)]


def _corrected(p_values: Sequence[float | None]) -> list[float | None]:
    """Apply Holm's correction to all p-values except None."""
    known = iter(holm([p for p in p_values if p is not None]))
    return [None if p is None else next(known) for p in p_values]

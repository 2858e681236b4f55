"""Comparison of two models on the same images: paired bootstrap, McNemar's test, DeLong's test."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ssl_ext.apis.report.grid import Grid
from ssl_ext.apis.report.text import metric_label
from ssl_ext.errors import UserError
from ssl_ext.evaluation import METRICS, Predictions, ResultRow
from ssl_ext.evaluation.bootstrap import bootstrap, interval
from ssl_ext.evaluation.identity import shared_repeats
from ssl_ext.evaluation.metric_names import Metric
from ssl_ext.evaluation.significance import delong, holm, mcnemar

from .sides import Pair, Side
from .words import difference_text, p_text

Loaded = Sequence[tuple[tuple[ResultRow, ResultRow], Predictions, Predictions]]


def compare_models(
    sides: tuple[Side, Side], pairs: Sequence[Pair], *, metrics: Sequence[str], which: str
) -> list[Grid]:
    """Compare two models by a paired bootstrap, McNemar's test and DeLong's test, one table each.

    Raises:
        UserError: A row has no stored scores, or the rows of the two sides have different images or labels.
    """
    differences: list[list[str]] = []
    counts: list[list[str]] = []
    areas: list[tuple[list[str], float]] = []
    notes: dict[str, None] = {}
    for pair in pairs:
        loaded = load_scores(pair)
        words, (rows, first, second) = f"{pair.data}, {pair.condition.words}", loaded[0]
        for name, a, b, ends in image_differences(loaded, which, metrics):
            metric = METRICS.get(name, Metric(name))
            cells = [f"{metric.scale * value:.{metric.digits}f}" for value in (a, b)]
            differences.append(
                [words, metric_label(name), *cells, difference_text(a - b, ends, metric), str(len(loaded))]
            )
        if len(loaded) > 1:
            notes["McNemar's and DeLong's tests use the first of the n shared seeds and draws."] = None
        if first.groups is not None:
            notes[
                f"{words}: images of a group are not independent, so groups are resampled, and McNemar's and "
                "DeLong's tests are omitted."
            ] = None
            continue
        if first.labels.ndim == 1:
            right = [one.test[which].predicted == one.labels for one in (first, second)]
            only_first, only_second, p = mcnemar(*right)
            counts.append([words, str(only_first), str(only_second), p_text(p)])
        areas += _areas(words, rows[0], first, second, which)
    title = f"{sides[0].name} (A) and {sides[1].name} (B)"
    notes |= dict.fromkeys(_scope(sides))
    tables = [
        Grid(
            f"{title}: A − B with its 95 % interval, paired bootstrap",
            ["measurement", "metric", "A", "B", "A − B", "n"],
            differences,
            2,
            list(notes),
        )
    ]
    if counts:
        header = ["measurement", "only A right", "only B right", "p"]
        tables.append(Grid("McNemar's exact test of the accuracy", header, counts, 1))
    if areas:
        corrected = holm([p for _, p in areas])
        lines = [[*cells, p_text(p)] for (cells, _), p in zip(areas, corrected, strict=True)]
        header = ["measurement", "A − B", "p", "p, Holm"]
        tables.append(Grid("DeLong's test of the area under the ROC curve", header, lines, 1))
    return tables


def _scope(sides: tuple[Side, Side]) -> list[str]:
    hashes = [side.checkpoints[0] if side.checkpoints else "no checkpoint" for side in sides]
    return [
        f"These results hold for these two checkpoints only (A {hashes[0]}, B {hashes[1]}). They do not "
        "show which method is better, because results vary with the pretraining seed: to compare methods, "
        "evaluate several pretraining seeds of both."
    ]


def load_scores(pair: Pair) -> Loaded:
    """Load the stored scores of each shared seed and draw of a pair.

    Raises:
        UserError: A row has no stored scores, or the two sides have different images, labels or seeds.
    """
    loaded = []
    for rows in shared_repeats(pair.first, pair.second):
        if any(row.predictions is None for row in rows):
            raise UserError(
                f"{pair.data}, {pair.condition.words}: a row has no stored scores (it was written by an "
                "older version); evaluate again."
            )
        first, second = (Predictions.load(str(row.predictions)) for row in rows)
        if not (np.array_equal(first.images, second.images) and np.array_equal(first.labels, second.labels)):
            raise UserError(
                f"{pair.data}, {pair.condition.words}: the two sides have different images or labels."
            )
        loaded.append((rows, first, second))
    if not loaded:
        raise UserError(f"{pair.data}, {pair.condition.words}: the two sides share no seed and draw.")
    return loaded


def image_differences(
    loaded: Loaded, which: str, metrics: Sequence[str]
) -> list[tuple[str, float, float, tuple[float, float] | None]]:
    """Return (metric, value of A, value of B, interval of A − B), averaged over seeds and draws.

    Values are read from the rows, because stored scores are rounded to float16.
    """
    weighted = [(first.weighted(which), second.weighted(which)) for _, first, second in loaded]

    def means(weights: np.ndarray) -> dict[str, np.ndarray]:
        """Return the values (2, B) of both sides for each metric."""
        found = [[one.metrics(weights) for one in pair] for pair in weighted]
        return {
            name: np.mean([[one[name] for one in pair] for pair in found], axis=0)
            for name in metrics
            if all(name in one for pair in found for one in pair)
        }

    example = loaded[0][1]
    resampled = bootstrap(means, len(example.labels), example.groups)
    found = []
    for name, (first, second) in resampled.items():
        a, b = np.mean([[getattr(row, which)[name] for row in rows] for rows, *_ in loaded], axis=0)
        found.append((name, float(a), float(b), interval(first - second, example.units)))
    return found


def _areas(
    words: str, row: ResultRow, first: Predictions, second: Predictions, which: str
) -> list[tuple[list[str], float]]:
    """Test macro AUC by DeLong's test; for ``multi-label`` tasks, test each label separately."""
    one, other = first.weighted(which), second.weighted(which)
    if one.scores is None or other.scores is None:
        return []
    columns = range(one.scores.shape[1])
    positive = np.stack([one.is_positive(column) for column in columns], axis=1)
    parts = {"": list(columns)}
    if first.task == "multi-label":
        names = row.source.get("classes") or map(str, columns)
        parts = {f", {name}": [column] for column, name in zip(columns, names, strict=True)}
    found = []
    for name, part in parts.items():
        test = delong(one.scores[:, part], other.scores[:, part], positive[:, part])
        if test is not None:
            ends = difference_text(test.difference, test.ends, METRICS["auc"])
            cells = [words + name, ends, p_text(test.p)]
            found.append((cells, test.p))
    return found

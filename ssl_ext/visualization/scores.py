"""Bar charts of evaluation scores."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.figure import Figure

from .style import PALETTE, end_at_limits, new_figure, open_frame


def scores_bar(rows: Sequence[tuple[str, float, float | None]], *, label: str = "accuracy (%)") -> Figure:
    """Draw horizontal bars in the order of the rows, labelled with their values; a dash for NaN.

    Args:
        rows: Name, score and standard deviation (None: a single run) of each evaluation.
        label: Name and unit of the score; a percentage axis ends at 100.

    Raises:
        ValueError: There are no rows.
    """
    if not rows:
        raise ValueError("a chart of scores needs at least one row (name, score, std)")
    names = [name for name, _, _ in rows]
    texts = [
        "-"
        if math.isnan(score)
        else f"{score:.2f}"
        if deviation is None
        else f"{score:.2f} ± {deviation:.2f}"
        for _, score, deviation in rows
    ]
    scores = [0.0 if math.isnan(score) else score for _, score, _ in rows]
    spreads = [0.0 if math.isnan(score) else deviation or 0.0 for _, score, deviation in rows]
    figure = new_figure(5.0, 0.36 * len(rows) + 0.7)
    axes = figure.subplots()
    bars = axes.barh(range(len(rows)), scores, height=0.62, color=PALETTE[0])
    for position, (score, spread) in enumerate(zip(scores, spreads, strict=True)):
        if spread:
            axes.errorbar(score, position, xerr=spread, color="black", capsize=3, linewidth=1)
    axes.set_yticks(range(len(rows)), names, fontsize=9)
    axes.invert_yaxis()
    widest = max(score + spread for score, spread in zip(scores, spreads, strict=True))
    axes.set_xlim(min(0.0, *scores), max(widest, 1e-9) * 1.35)
    if label.endswith("(%)"):
        end_at_limits(axes, "x", 100)
    for bar, text, spread in zip(bars, texts, spreads, strict=True):
        axes.annotate(
            text,
            (bar.get_width() + spread, bar.get_y() + bar.get_height() / 2),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            annotation_clip=False,
        )
    axes.set_xlabel(label, fontsize=9)
    axes.tick_params(axis="x", labelsize=8)
    axes.tick_params(axis="y", length=0)
    open_frame(axes)
    return figure

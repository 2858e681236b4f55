"""Bar charts of evaluation scores."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from .style import PALETTE, new_figure, open_frame


def scores_bar(rows: Sequence[tuple[str, float, float | None]], *, label: str = "accuracy (%)") -> Figure:
    """Draw horizontal bars in the order of the rows, labelled with their values.

    Args:
        rows: Name, score and standard deviation (None: a single run) of each evaluation.
        label: Name and unit of the score.

    Raises:
        ValueError: There are no rows.
    """
    if not rows:
        raise ValueError("a chart of scores needs at least one row (name, score, std)")
    names, scores, deviations = zip(*rows, strict=True)
    figure = new_figure(5.0, 0.36 * len(rows) + 0.7)
    axes = figure.subplots()
    bars = axes.barh(range(len(rows)), scores, height=0.62, color=PALETTE[0])
    for position, (score, deviation) in enumerate(zip(scores, deviations, strict=True)):
        if deviation:
            axes.errorbar(score, position, xerr=deviation, color="black", capsize=3, linewidth=1)
    texts = [
        f"{score:.2f}" if deviation is None else f"{score:.2f} ± {deviation:.2f}"
        for score, deviation in zip(scores, deviations, strict=True)
    ]
    axes.set_yticks(range(len(rows)), names, fontsize=9)
    axes.invert_yaxis()
    widest = max(score + (deviation or 0) for score, deviation in zip(scores, deviations, strict=True))
    axes.set_xlim(min(0.0, *scores), max(widest, 1e-9) * 1.35)
    for bar, text, deviation in zip(bars, texts, deviations, strict=True):
        axes.annotate(
            text,
            (bar.get_width() + (deviation or 0), bar.get_y() + bar.get_height() / 2),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
        )
    axes.set_xlabel(label, fontsize=9)
    axes.tick_params(axis="x", labelsize=8)
    axes.tick_params(axis="y", length=0)
    open_frame(axes)
    return figure

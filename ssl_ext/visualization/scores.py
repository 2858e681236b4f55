"""Bar charts of evaluation scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from textwrap import fill
from typing import Any

from matplotlib.figure import Figure

from .style import COLUMN, PALETTE, TICK, end_at_limits, label_axes, new_figure

BAR, HEADING = 0.19, 0.24  # inches
NAME_WIDTH = 24  # characters


def scores_bar(
    rows: Sequence[tuple[str, str, float, float | None]], *, label: str = "accuracy (%)"
) -> Figure:
    """Draw horizontal bars, labelled with their values (a dash for NaN), under a heading for each method.

    Methods and their measurements keep the order of the rows; a measurement has the same colour everywhere.

    Args:
        rows: Method, measurement, score and standard deviation (None: a single run) of each evaluation.
        label: Name and unit of the score; a percentage axis ends at 100.

    Raises:
        ValueError: There are no rows.
    """
    if not rows:
        raise ValueError("a chart of scores needs at least one row (method, measurement, score, std)")
    groups: dict[str, list[tuple[Any, ...]]] = {}
    for method, *row in rows:
        groups.setdefault(method, []).append(tuple(row))
    colours = {
        name: PALETTE[i % len(PALETTE)] for i, name in enumerate(dict.fromkeys(row[1] for row in rows))
    }
    names = {name: fill(name, NAME_WIDTH) for name in colours}
    step = BAR * max(1.0, 0.75 * max(name.count("\n") + 1 for name in names.values()))
    figure = new_figure(COLUMN, step * len(rows) + HEADING * len(groups) + 0.55)
    axes = figure.subplots()
    ticks, widest, place = {}, 0.0, 0.0
    for method, members in groups.items():
        place += HEADING
        axes.text(
            0, place - HEADING / 2, f" {method}", va="center", fontsize=TICK, fontweight="bold", clip_on=False
        )
        for name, score, deviation in members:
            place += step
            centre, known = place - step / 2, not math.isnan(score)
            width, spread = (score, deviation or 0.0) if known else (0.0, 0.0)
            axes.barh(centre, width, height=0.8 * BAR, color=colours[name])
            if spread:
                axes.errorbar(width, centre, xerr=spread, color="black", capsize=2, linewidth=0.8)
            words = f"{score:.2f}" + ("" if deviation is None else f" ± {deviation:.2f}")
            axes.annotate(
                words if known else "-", (width + spread, centre), xytext=(4, 0), textcoords="offset points",
                va="center", fontsize=TICK, annotation_clip=False,
            )  # fmt: skip
            ticks[centre], widest = names[name], max(widest, width + spread)
    axes.set_ylim(place, 0)
    axes.set_xlim(
        min(0.0, *(row[2] for row in rows if not math.isnan(row[2])), 0.0), max(widest, 1e-9) * 1.35
    )
    if label.endswith("(%)"):
        end_at_limits(axes, "x", 100)
    if any(row[3] is not None for row in rows):
        label += ", ± standard deviation"
    label_axes(axes, label, "measurement", grid=False)
    axes.set_yticks(list(ticks), list(ticks.values()))
    axes.tick_params(axis="y", length=0)
    return figure

"""Scores over the settings of a sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from .style import MARKERS, PALETTE, new_figure, open_frame

LOG_FROM = 8  # ratio of the largest to the smallest value from which the axis is logarithmic


def sweep_lines(
    lines: Mapping[str, Sequence[tuple[Any, float, float | None]]],
    *,
    x_label: str,
    legend: str | None = None,
    label: str = "accuracy (%)",
) -> Figure:
    """Scores over one setting, a line for each value of a second one (Fig. 4 of TriMix).

    Numbers stand at their places, on a logarithmic axis where they reach over a factor of 8; other
    values stand side by side in the order in which they occur.

    Args:
        lines: For each line its points: value, score, and standard deviation (None: a single run).
        x_label: Name of the setting on the axis.
        legend: Name of the setting that the lines differ in; None for a single line.
        label: Name and unit of the score.

    Raises:
        ValueError: There are no points.
    """
    values = list(dict.fromkeys(value for points in lines.values() for value, _, _ in points))
    if not values:
        raise ValueError("lines over a setting need at least one point (value, score, std)")
    figure = new_figure(4.6, 3.0)
    axes = figure.subplots()
    place = _scale(axes, values)
    for number, (name, points) in enumerate(lines.items()):
        points = sorted(points, key=lambda point: place[point[0]])
        colour, marker = PALETTE[number % len(PALETTE)], MARKERS[number % len(MARKERS)]
        axes.errorbar(
            [place[value] for value, _, _ in points],
            [score for _, score, _ in points],
            yerr=[deviation or 0.0 for _, _, deviation in points]
            if any(deviation for _, _, deviation in points)
            else None,
            color=colour,
            marker=marker,
            markersize=5,
            linewidth=1.4,
            capsize=3,
            label=name,
        )
    axes.set_xlabel(x_label, fontsize=9)
    axes.set_ylabel(label, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(color="0.92", linewidth=0.7)
    axes.set_axisbelow(True)
    open_frame(axes)
    if legend is not None:
        figure.legend(loc="outside right upper", title=legend, frameon=False, fontsize=9, title_fontsize=9)
    return figure


def _scale(axes: Axes, values: list[Any]) -> dict[Any, float]:
    """Set the horizontal axis up; give the place of each value on it."""
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    place = {value: float(value) if numbers else float(index) for index, value in enumerate(values)}
    if numbers and min(values) > 0 and max(values) / min(values) >= LOG_FROM:
        axes.set_xscale("log")
    axes.set_xticks(list(place.values()), [f"{value:g}" if numbers else str(value) for value in values])
    axes.xaxis.set_minor_locator(NullLocator())
    return place

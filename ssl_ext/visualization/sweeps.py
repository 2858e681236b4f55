"""Line plots of scores over the settings of a sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from .style import MARKERS, PALETTE, end_at_limits, new_figure, open_frame

LOG_FROM = 8  # smallest ratio of largest to smallest value for a logarithmic axis


def sweep_lines(
    lines: Mapping[str, Sequence[tuple[Any, float, float | None]]],
    *,
    x_label: str,
    legend: str | None = None,
    label: str = "accuracy (%)",
) -> Figure:
    """Draw scores over one setting, with one line per value of a second setting (Fig. 4 of TriMix).

    Numbers are placed on a linear axis, or on a logarithmic one if they span a factor of 8 or more; other
    values are evenly spaced in order of occurrence.

    Args:
        lines: Name of each line to its points: value, score, and standard deviation (None: a single run).
        x_label: Name of the setting on the axis.
        legend: Name of the setting that the lines differ in; None for a single line.
        label: Name and unit of the score; a percentage axis ends at 100.

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
    if label.endswith("(%)"):
        end_at_limits(axes, "y", 100)
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
    """Set up the horizontal axis and return the position of each value."""
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    place = {value: float(value) if numbers else float(index) for index, value in enumerate(values)}
    if numbers and min(values) > 0 and max(values) / min(values) >= LOG_FROM:
        axes.set_xscale("log")
    axes.set_xticks(list(place.values()), [f"{value:g}" if numbers else str(value) for value in values])
    axes.xaxis.set_minor_locator(NullLocator())
    return place

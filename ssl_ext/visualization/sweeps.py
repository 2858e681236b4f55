"""Line plots of scores over the settings of a sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from .heatmap import LEAST_WIDTH
from .style import COLUMN, MARKERS, PALETTE, end_at_limits, label_axes, legend_below, new_figure, widened

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
    values are evenly spaced in order of occurrence. Scores of single seeds have an axis of at least 5.

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
    figure = new_figure(COLUMN, 2.4)
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
            markersize=4,
            linewidth=1.2,
            capsize=2,
            label=name if legend is None else f"{legend} = {name}",
        )
    repeated = any(deviation is not None for points in lines.values() for *_, deviation in points)
    if not repeated:
        axes.set_ylim(*widened(*axes.get_ylim(), LEAST_WIDTH))
    if label.endswith("(%)"):
        end_at_limits(axes, "y", 100)
    label_axes(axes, x_label, label + (",\n± standard deviation" if repeated else ""))
    if legend is not None:
        legend_below(figure, *axes.get_legend_handles_labels())
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

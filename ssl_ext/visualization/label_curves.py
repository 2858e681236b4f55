"""Scores over numbers of labels, with fitted curves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from .style import MARKERS, PALETTE, new_figure, open_frame

Ends = tuple[float, float] | None
Measured = tuple[int, float, Ends]
"""Number of labels, score and the ends of its interval."""
APART = 1.04
"""Ratio of the places of the markers of two curves, whose bars would cover each other."""


def label_curves(
    curves: Mapping[str, tuple[Sequence[Measured], Callable[[np.ndarray], np.ndarray], Measured | None]],
    *,
    label: str,
    unit: str = "labels",
    scale: float = 1,
    notes: Sequence[str] = (),
) -> Figure:
    """Draw scores with their intervals, the fitted curves, and what these give beyond the measured numbers.

    Args:
        curves: By name the measured points, the fitted score of a number of labels, and the extrapolated
            point, which has a hollow marker on a dashed line (None: no extrapolation).
        label: Name of the score.
        unit: Unit of the numbers on the (logarithmic) horizontal axis.
        scale: Factor of the scores, 100 for percent.
        notes: Lines about all points, below the unit.

    Raises:
        ValueError: No curve.
    """
    if not curves:
        raise ValueError("a figure of label curves needs at least one curve")
    figure = new_figure(5.4, 3.4)
    axes = figure.subplots()
    ticks: set[int] = set()
    for number, (name, (points, fitted, beyond)) in enumerate(curves.items()):
        colour, marker = PALETTE[number % len(PALETTE)], MARKERS[number % len(MARKERS)]
        extrapolated = [] if beyond is None else [beyond]
        shift = APART ** (number - (len(curves) - 1) / 2)
        for members, face, words in ((points, colour, name), (extrapolated, "white", None)):
            if not members:
                continue
            n, scores, ends = zip(*members, strict=True)
            errors = [
                (0.0, 0.0) if own is None else (max(0, score - own[0]), max(0, own[1] - score))
                for score, own in zip(scores, ends, strict=True)
            ]
            axes.errorbar(
                shift * np.array(n), scale * np.array(scores), yerr=scale * np.array(errors).T, linestyle="",
                color=colour, marker=marker, markerfacecolor=face, markersize=5, capsize=3, label=words,
            )  # fmt: skip
        last = points[-1][0]
        parts = [(points[0][0], last, "-"), *((last, one[0], "--") for one in extrapolated)]
        for low, high, dashes in parts:
            x = np.geomspace(low, high, 100)
            axes.plot(x, scale * fitted(x), color=colour, linestyle=dashes, linewidth=1.3)
        ticks |= {point[0] for point in (*points, *extrapolated)}
    axes.set_xscale("log")
    axes.set_xticks(sorted(ticks), [f"{one:g}" for one in sorted(ticks)])
    axes.xaxis.set_minor_locator(NullLocator())
    hollow = " (hollow: extrapolated)" * any(one[2] for one in curves.values())
    axes.set_xlabel("\n".join((unit + hollow, *notes)), fontsize=9)
    axes.set_ylabel(label, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(color="0.92", linewidth=0.7)
    axes.set_axisbelow(True)
    open_frame(axes)
    axes.legend(frameon=False, fontsize=8)
    return figure

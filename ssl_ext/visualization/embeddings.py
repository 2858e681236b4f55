"""Scatter plots of 2-D embeddings."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from .style import GREY, MARKERS, PALETTE, bare, new_figure, to_array

# The palette and two of Tol's muted colours: ten colours for ten markers.
COLOURS = (*PALETTE, "#882255", "#999933")
MAX_NAMED = 40
NAME_WIDTH, LEGEND_LINE = 26, 0.19  # characters, inches
COLUMNS = 4
SINGLE, SIDE = 4.4, 3.3  # inches
TITLE = 12.5  # characters of a title per inch


def embedding_scatter(
    panels: Mapping[str, Any], labels: Any, classes: Sequence[str], *, columns: int | None = None
) -> Figure:
    """Draw points coloured by class, with the same points in every panel (Fig. 3 of TriMix).

    Up to 40 classes have a combination of colour and marker each and a legend; more classes share a
    colour scale. The style of a class does not depend on the other classes present.

    Args:
        panels: Title to points (N, 2).
        labels: (N,) class indices; -1 is unlabelled, drawn grey and behind.
        classes: Names of the classes.
        columns: Panels per row; by default all in one row, up to 4.

    Raises:
        ValueError: There is no panel, shapes do not match, or a label has no name.
    """
    labels, clouds = to_array(labels), {title: to_array(points) for title, points in panels.items()}
    if not clouds:
        raise ValueError("a figure of embeddings needs at least one panel of points")
    for points in clouds.values():
        if points.ndim != 2 or points.shape[1] != 2 or labels.shape != points.shape[:1]:
            raise ValueError(f"points must be (N, 2) and labels (N,), got {points.shape} and {labels.shape}")
    if labels.size and not -1 <= labels.min() <= labels.max() < len(classes):
        raise ValueError(f"labels must lie in [-1, {len(classes) - 1}], got [{labels.min()}, {labels.max()}]")

    columns = columns or min(len(clouds), COLUMNS)
    rows = math.ceil(len(clouds) / columns)
    side = SINGLE if len(clouds) == 1 else SIDE
    named = {index: _wrapped(classes[index]) for index in np.unique(labels[labels >= 0]).astype(int)}
    if (labels == -1).any():
        named = {-1: "unlabelled", **named}
    in_legend = len(named) <= MAX_NAMED
    legend_columns = math.ceil(
        sum(name.count("\n") + 1 for name in named.values()) * LEGEND_LINE / (rows * side)
    )
    longest = max((len(line) for name in named.values() for line in name.split("\n")), default=0)
    beside = legend_columns * (0.4 + 0.075 * longest) if in_legend else 0.7
    figure = new_figure(columns * side + beside, rows * side)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (title, points) in zip(grid, clouds.items(), strict=False):
        _scatter(axes, points, labels, named, len(classes), in_legend)
        axes.set_aspect("equal", adjustable="datalim")
        bare(axes)
        axes.set_title(textwrap.fill(title, int(TITLE * side)), fontsize=10)
    for axes in grid[len(clouds) :]:
        axes.remove()
    if in_legend:
        handles, names = grid[0].get_legend_handles_labels()
        legend = figure.legend(
            handles,
            names,
            loc="outside right upper",
            ncols=legend_columns,
            frameon=False,
            fontsize=9,
            handletextpad=0.2,
        )
        for handle in legend.legend_handles:
            if isinstance(handle, PathCollection):
                handle.set_sizes([30])
                handle.set_alpha(1)
    else:
        bar = figure.colorbar(grid[0].collections[-1], ax=grid[: len(clouds)].tolist(), pad=0.01)
        bar.outline.set_visible(False)
        bar.set_label(f"class (of {len(classes)})", fontsize=9)
        bar.ax.tick_params(labelsize=8)
    return figure


def _scatter(
    axes: Axes, points: np.ndarray, labels: np.ndarray, named: Mapping[int, str], count: int, marked: bool
) -> None:
    """Draw one panel; ``marked`` classes have a colour and a marker, others a colour of the scale."""
    area = float(np.clip(20000 / max(len(points), 1), 7, 30))  # points²
    shared: dict[str, Any] = {"s": area, "linewidths": 0, "alpha": 0.8, "rasterized": True}
    x, y = points.T
    if (labels == -1).any():
        axes.scatter(x[labels == -1], y[labels == -1], color=GREY, label=named[-1], **shared)
    if not marked:
        known = labels >= 0
        axes.scatter(x[known], y[known], c=labels[known], cmap="viridis", vmin=0, vmax=count - 1, **shared)
        return
    for index, name in named.items():
        if index >= 0:
            # Every ten classes repeat the colours with shifted markers.
            colour = COLOURS[index % len(COLOURS)]
            marker = MARKERS[(index + index // len(COLOURS)) % len(MARKERS)]
            rows = labels == index
            axes.scatter(x[rows], y[rows], color=colour, marker=marker, label=name, **shared)


def _wrapped(name: str) -> str:
    return textwrap.fill(str(name), NAME_WIDTH)

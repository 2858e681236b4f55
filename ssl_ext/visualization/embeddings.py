"""Scatter plots of 2-D embeddings."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from .style import (
    COLUMN,
    GREY,
    LABEL,
    MARKERS,
    PAGE,
    PALETTE,
    TITLE,
    centred_grid,
    colour_bar,
    legend_below,
    new_figure,
    to_array,
)

MAX_NAMED = 40
TITLE_CHARACTER = 0.08  # inches
COLUMNS = 3


class Cloud(NamedTuple):
    """Points (N, 2) of a panel and the labels of its axes, such as "PC 1 (34 % of variance)"."""

    points: Any
    x_label: str
    y_label: str


def embedding_scatter(
    panels: Mapping[str, Cloud], labels: Any, classes: Sequence[str], *, columns: int | None = None
) -> Figure:
    """Draw points coloured by class, with the same points in every panel (Fig. 3 of TriMix).

    Up to 40 classes have a combination of colour and marker each and a legend; more classes share a
    colour scale. The style of a class does not depend on the other classes present.

    Args:
        panels: Title to points and labels.
        labels: (N,) class indices; -1 is unlabelled, drawn grey and behind.
        classes: Names of the classes.
        columns: Panels per row; by default all in one row, up to 3.

    Raises:
        ValueError: There is no panel, shapes do not match, or a label has no name.
    """
    labels = to_array(labels)
    clouds = {title: cloud._replace(points=to_array(cloud.points)) for title, cloud in panels.items()}
    if not clouds:
        raise ValueError("a figure of embeddings needs at least one panel of points")
    for points, *_ in clouds.values():
        if points.ndim != 2 or points.shape[1] != 2 or labels.shape != points.shape[:1]:
            raise ValueError(f"points must be (N, 2) and labels (N,), got {points.shape} and {labels.shape}")
    if labels.size and not -1 <= labels.min() <= labels.max() < len(classes):
        raise ValueError(f"labels must lie in [-1, {len(classes) - 1}], got [{labels.min()}, {labels.max()}]")

    columns = columns or min(len(clouds), COLUMNS)
    named = {index: str(classes[index]) for index in np.unique(labels[labels >= 0]).astype(int)}
    if (labels == -1).any():
        named = {-1: "unlabelled", **named}
    in_legend = len(named) <= MAX_NAMED
    width = COLUMN if len(clouds) == 1 else PAGE
    side = width / columns
    figure = new_figure(width, side * math.ceil(len(clouds) / columns))
    grid = centred_grid(figure, len(clouds), columns)
    for axes, (title, cloud) in zip(grid, clouds.items(), strict=True):
        _scatter(axes, cloud.points, labels, named, len(classes), in_legend)
        axes.set_aspect("equal", adjustable="datalim")
        axes.set(xticks=[], yticks=[])
        axes.set_xlabel(cloud.x_label, fontsize=LABEL)
        axes.set_ylabel(cloud.y_label, fontsize=LABEL)
        for spine in axes.spines.values():
            spine.set_color("0.8")
        axes.set_title(textwrap.fill(title, int((side - 0.3) / TITLE_CHARACTER)), fontsize=TITLE)
    if in_legend:
        for handle in legend_below(figure, *grid[0].get_legend_handles_labels()).legend_handles:
            if isinstance(handle, PathCollection):
                handle.set_sizes([20])
                handle.set_alpha(1)
    else:
        colour_bar(figure, grid[0].collections[-1], f"class (of {len(classes)})", ax=grid, pad=0.01)
    return figure


def _scatter(
    axes: Axes, points: np.ndarray, labels: np.ndarray, named: Mapping[int, str], count: int, marked: bool
) -> None:
    """Draw one panel; ``marked`` classes have a colour and a marker, others a colour of the scale."""
    area = float(np.clip(8000 / max(len(points), 1), 4, 16))  # points²
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
            colour = PALETTE[index % len(PALETTE)]
            marker = MARKERS[(index + index // len(PALETTE)) % len(MARKERS)]
            rows = labels == index
            axes.scatter(x[rows], y[rows], color=colour, marker=marker, label=name, **shared)

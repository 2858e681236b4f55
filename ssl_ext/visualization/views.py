"""Grids of images and their augmented views."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from .style import LABEL, PAGE, bare, new_figure, to_images

CELL = 0.82  # inches; an image with three views fits a column


def view_grid(originals: Any, views: Sequence[Any], *, titles: Sequence[str] | None = None) -> Figure:
    """Draw one row per image: the original, then its K views.

    Args:
        originals: (N, C, H, W) in [0, 1], C 1 or 3, N >= 1.
        views: K tensors or arrays (N, C, h, w) in [0, 1]; their sizes may differ.
        titles: K + 1 column titles; "image", "view 1", … by default.

    Returns:
        Figure with N · (K + 1) axes, row by row.

    Raises:
        ValueError: Wrong shapes, range or number of titles.
    """
    columns = [to_images(originals, "originals")]
    columns += [to_images(view, f"views[{k}]") for k, view in enumerate(views)]
    if titles is None:
        titles = ["image", *(f"view {k + 1}" for k in range(len(views)))]
    counts = [len(column) for column in columns]
    if len(set(counts)) > 1 or counts[0] == 0:
        raise ValueError(f"originals and views must hold the same number of images, got {counts}")
    if len(titles) != len(columns):
        raise ValueError(f"{len(columns)} columns need as many titles, got {len(titles)}")

    cell_side = min(CELL, PAGE / len(columns))
    figure = new_figure(cell_side * len(columns), cell_side * counts[0] + 0.2, gap=0.02)
    grid = figure.subplots(counts[0], len(columns), squeeze=False)
    for row, cells in enumerate(grid):
        for cell, images, title in zip(cells, columns, titles, strict=True):
            cell.imshow(images[row], vmin=0, vmax=1, interpolation="nearest")
            bare(cell)
            if row == 0:
                cell.set_title(title, fontsize=LABEL)
    return figure

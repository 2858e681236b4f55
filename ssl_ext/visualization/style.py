"""Palette, markers and helpers shared by all figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from textwrap import fill
from typing import Any

import numpy as np
import torch
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.legend import Legend

# Inches: a column and the text of a page with two columns.
COLUMN, PAGE = 3.3, 6.9
# Points, at the printed size.
TITLE, LABEL, TICK, CELL_TEXT = 9, 8, 7, 6
# Colours with a contrast of 3 to white: of Okabe and Ito, of Tol's muted ones, a darker olive and a violet.
PALETTE = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000"),
    *("#882255", "#949431", "#6A5BFF", "#117733", "#332288"),
)
MARKERS = ("o", "^", "s", "D", "v", "P", "X", "*", "<", ">")
GREY = "#767676"
CHARACTER, LEGEND_LINE = 0.065, 0.15  # inches of a character and of a line of LABEL points


def new_figure(width: float, height: float, *, gap: float | None = None) -> Figure:
    """Create an empty figure of a size in inches with the Agg canvas, independent of pyplot.

    ``gap`` reduces the space between axes to this fraction of their size, and the padding to 0.02 inches.
    """
    pad = None if gap is None else 0.02
    layout = ConstrainedLayoutEngine(w_pad=pad, h_pad=pad, wspace=gap, hspace=gap)
    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)
    return figure


def centred_grid(figure: Figure, count: int, columns: int) -> list[Axes]:
    """Add ``count`` axes in rows of ``columns``; a shorter last row is centred, so that no cell is empty."""
    rows = math.ceil(count / columns)
    grid = figure.add_gridspec(rows, 2 * columns)
    shift = rows * columns - count
    places = [divmod(index, columns) for index in range(count)]
    starts = [(row, 2 * column + (shift if row == rows - 1 else 0)) for row, column in places]
    return [figure.add_subplot(grid[row, start : start + 2]) for row, start in starts]


def legend_below(figure: Figure, handles: Sequence[Artist], names: Sequence[str]) -> Legend:
    """Add a legend below the axes, in as many columns as fit the width; long names are wrapped.

    The figure grows by the height of the legend.
    """
    width, height = figure.get_size_inches()
    names = [fill(name, int((width - 0.6) / CHARACTER)) for name in names]
    longest = max(len(line) for name in names for line in name.splitlines())
    columns = max(1, min(len(names), int(width / (0.5 + CHARACTER * longest))))
    lines = sum(name.count("\n") + 1 for name in names)
    figure.set_size_inches(width, height + LEGEND_LINE * math.ceil(lines / columns) + 0.1)
    legend = figure.legend(
        handles, names, loc="outside lower center", ncols=columns, frameon=False, fontsize=LABEL,
        columnspacing=1.2, handletextpad=0.5,
    )  # fmt: skip
    for text in legend.get_texts():
        text.set_parse_math(False)  # a name with $ is no formula
    return legend


def add_title(figure: Figure, title: str) -> None:
    """Add a title whose lines are wrapped at the width of the figure."""
    characters = int(figure.get_figwidth() / CHARACTER)
    figure.suptitle("\n".join(fill(line, characters) for line in title.splitlines()), fontsize=LABEL)


def label_axes(axes: Axes, x: str, y: str, *, grid: bool = True) -> None:
    """Set labels and text sizes, remove the upper and right frame, and draw a pale grid."""
    axes.set_xlabel(x, fontsize=LABEL)
    axes.set_ylabel(y, fontsize=LABEL)
    axes.tick_params(labelsize=TICK)
    if grid:
        axes.grid(color="0.92", linewidth=0.7)
        axes.set_axisbelow(True)
    open_frame(axes)


def colour_bar(figure: Figure, drawn: ScalarMappable, label: str, **place: Any) -> None:
    """Add a colour bar without a frame; ``place`` is passed to ``Figure.colorbar``."""
    bar = figure.colorbar(drawn, **place)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=TICK)
    bar.set_label(label, fontsize=LABEL)


def contrast(colour: Any, other: Any = "white") -> float:
    """Contrast ratio of two colours, 1 to 21 (WCAG 2.2); at least 3 is needed for lines, 4.5 for text.

    >>> round(contrast("black"), 2), round(contrast("yellow"), 2)
    (21.0, 1.07)
    """
    low, high = sorted(_luminance(to_rgb(one)) for one in (colour, other))
    return (high + 0.05) / (low + 0.05)


def _luminance(rgb: Sequence[float]) -> float:
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in rgb]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def text_colour(background: Any) -> str:
    """Black or white, the one with more contrast to a background."""
    return "white" if contrast(background) > contrast(background, "black") else "black"


def widened(low: float, high: float, least: float) -> tuple[float, float]:
    """Widen a range about its centre to a width of at least ``least``.

    >>> widened(2.0, 3.0, 4.0), widened(2.0, 3.0, 0.5)
    ((0.5, 4.5), (2.0, 3.0))
    """
    missing = max(0.0, least - (high - low)) / 2
    return low - missing, high + missing


def to_array(values: Any) -> np.ndarray:
    """Convert a tensor on any device, an array or a sequence to a NumPy array."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        return (values.float() if values.dtype == torch.bfloat16 else values).numpy()
    return np.asarray(values)


def to_images(images: Any, name: str) -> np.ndarray:
    """Convert images (N, C, H, W) in [0, 1] with 1 or 3 channels to (N, H, W, 3).

    Raises:
        ValueError: Wrong shape or range.
    """
    array = to_array(images)
    if array.ndim != 4 or array.shape[1] not in (1, 3):
        raise ValueError(f"{name} must be (N, C, H, W) with C 1 or 3, got {array.shape}")
    low, high = (float(array.min()), float(array.max())) if array.size else (0.0, 1.0)
    if not (low >= -1e-3 and high <= 1 + 1e-3):
        raise ValueError(
            f"{name} must lie in [0, 1] (undo the normalisation first), got [{low:.3g}, {high:.3g}]"
        )
    array = array.astype(np.float32).clip(0, 1).transpose(0, 2, 3, 1)
    return np.broadcast_to(array, (*array.shape[:3], 3))


def bare(axes: Axes) -> None:
    """Remove ticks and frame."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def open_frame(axes: Axes, sides: Sequence[str] = ("top", "right")) -> None:
    """Remove the frame on some sides."""
    for side in sides:
        axes.spines[side].set_visible(False)


def end_at_limits(axes: Axes, axis: str, limit: float) -> None:
    """Cut the margins of an accuracy axis (``'x'`` or ``'y'``) at 0 and at ``limit``, 1 or 100 (percent)."""
    low, high = axes.get_xlim() if axis == "x" else axes.get_ylim()
    # An axis whose values all equal a limit keeps its length.
    low, high = (max(low, 0.0) if high > 0 else low), (min(high, limit) if low < limit else high)
    (axes.set_xlim if axis == "x" else axes.set_ylim)(low, high)

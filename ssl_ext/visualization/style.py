"""Palette, markers and helpers shared by all figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

# Okabe and Ito's colours, the faint ones last.
PALETTE = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
    "#F0E442",
)
MARKERS = ("o", "^", "s", "D", "v", "P", "X", "*", "<", ">")
GREY = "#8C8C8C"


def new_figure(width: float, height: float, *, gap: float | None = None) -> Figure:
    """Create an empty figure of a size in inches with the Agg canvas, independent of pyplot.

    ``gap`` reduces the space between axes to this fraction of their size, and the padding to 0.02 inches.
    """
    pad = None if gap is None else 0.02
    layout = ConstrainedLayoutEngine(w_pad=pad, h_pad=pad, wspace=gap, hspace=gap)
    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)
    return figure


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

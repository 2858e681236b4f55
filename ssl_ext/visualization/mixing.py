"""Mixed images and their masks over λ (Fig. 4 of AMix)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .style import GREY, bare, new_figure, to_array, to_images

CELL = 0.9  # inches


def draw_mixed_grid(rows: Mapping[str, tuple[Any, Any]], lams: Sequence[float], sources: Any) -> Figure:
    """Draw mixed images and their masks: one row per policy or checkpoint, one column per λ.

    The first column holds the two source images, the one with share λ on top. Masks are white where that
    image is shown; titles give λ and, in brackets, the mean of the mask.

    Args:
        rows: Name to (mixed images (K, C, H, W) in [0, 1], masks (K, H, W) or (K, 1, H, W) in [0, 1]).
        lams: K values of λ.
        sources: (2, C, H, W) in [0, 1].

    Returns:
        Figure with 2 · rows · (K + 1) axes: images above masks for each row.

    Raises:
        ValueError: No rows, or wrong shapes or ranges.
    """
    pair = to_images(sources, "sources")
    if len(pair) != 2 or not rows or not lams:
        raise ValueError(
            f"a grid needs two sources, a row and a λ at least; got {len(pair)}, {len(rows)} and {len(lams)}"
        )
    columns = len(lams) + 1
    figure = new_figure(CELL * columns + 0.4, 2 * (CELL + 0.12) * len(rows) + 0.25, gap=0.02)
    grid = figure.subplots(2 * len(rows), columns, squeeze=False)
    for number, (name, (mixed, masks)) in enumerate(rows.items()):
        images, shares = to_images(mixed, name), to_array(masks)
        shares = shares[:, 0] if shares.ndim == 4 else shares
        if len(images) != len(lams) or shares.shape != images.shape[:3]:
            raise ValueError(
                f"{name}: {len(lams)} values of λ need as many images and masks of their size, got "
                f"{images.shape} and {shares.shape}"
            )
        above, below = grid[2 * number], grid[2 * number + 1]
        for cell, picture in zip((above[0], below[0]), pair, strict=True):
            _show(cell, picture)
        above[0].set_ylabel(name, fontsize=9)
        for column, lam in enumerate(lams):
            _show(above[column + 1], images[column])
            _show(below[column + 1], shares[column], frame=True)
            share = shares[column].mean()
            above[column + 1].set_title(f"λ = {lam:g} ({share:.2f})", fontsize=7, pad=2)
    return figure


def _show(axes: Axes, picture: Any, *, frame: bool = False) -> None:
    """Draw an image (H, W, 3) or a mask (H, W); masks are framed because white blends into the page."""
    axes.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    bare(axes)
    for spine in axes.spines.values():
        spine.set(visible=frame, color=GREY, linewidth=0.5)

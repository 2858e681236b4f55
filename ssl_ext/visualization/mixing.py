"""Mixed images and their masks over λ (Fig. 4 of AMix)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from textwrap import fill
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .style import CELL_TEXT, GREY, PAGE, TICK, bare, new_figure, to_array, to_images, widened

CELL = 0.62  # inches; seven policies fit a page
LEAST_WIDTH = 0.01  # of the scale of a learned mask


def draw_mixed_grid(
    rows: Mapping[str, tuple[Any, Any]], lams: Sequence[float], sources: Any, *, learned: Collection[str] = ()
) -> Figure:
    """Draw mixed images and their masks: one row per policy or checkpoint, one column per λ.

    The first column holds the two source images, the one with share λ on top. Masks are white where that
    image is shown, with their mean below. Learned masks have little contrast: each has a scale of its own,
    from the smallest to the largest value, which are written below, and at least 0.01 wide.

    Args:
        rows: Name to (mixed images (K, C, H, W) in [0, 1], masks (K, H, W) or (K, 1, H, W) in [0, 1]).
        lams: K values of λ.
        sources: (2, C, H, W) in [0, 1].
        learned: Names of the rows with learned masks.

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
    titles = ["\n".join(fill(part, 11) for part in name.split(", ")) for name in rows]
    margin = 0.2 + 0.1 * max(title.count("\n") + 1 for title in titles)
    side = min(CELL, (PAGE - margin) / columns)
    figure = new_figure(side * columns + margin, (2 * side + 0.17) * len(rows) + 0.2, gap=0.02)
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
        above[0].set_ylabel(titles[number], fontsize=TICK)
        below[0].set_ylabel("mask (range)" if name in learned else "mask (mean)", fontsize=TICK)
        for column, mask in enumerate(shares):
            _show(above[column + 1], images[column])
            low, high = float(mask.min()), float(mask.max())
            scale = widened(low, high, LEAST_WIDTH) if name in learned else (0.0, 1.0)
            _show(below[column + 1], mask, scale)
            words = f"{low:.3f}–{high:.3f}" if name in learned else f"{mask.mean():.2f}"
            below[column + 1].set_xlabel(words, fontsize=CELL_TEXT, labelpad=2)
    for cell, words in zip(grid[0], ("sources", *(f"λ = {lam:g}" for lam in lams)), strict=True):
        cell.set_title(words, fontsize=TICK, pad=2)
    return figure


def _show(axes: Axes, picture: Any, scale: tuple[float, float] | None = None) -> None:
    """Draw an image (H, W, 3) or a mask (H, W); masks are framed because white blends into the page."""
    low, high = scale or (0.0, 1.0)
    axes.imshow(picture, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
    bare(axes)
    for spine in axes.spines.values():
        spine.set(visible=scale is not None, color=GREY, linewidth=0.5)

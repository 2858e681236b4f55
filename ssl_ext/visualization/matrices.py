"""Target, similarity and probability matrices of TriMix (Fig. 5 of Bdair et al., 2022)."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from .style import LABEL, PAGE, PALETTE, bare, colour_bar, new_figure, to_array, to_images

MAX_BATCH = 32
GAP, HEADING, COLOUR_BAR, WORDS = 0.06, 0.36, 0.5, 0.2  # inches


def trimix_matrices(
    images: Any, mixed: Any, similarity: Any, probabilities: Any, targets: Any, lam: float
) -> Figure:
    """Draw targets, similarities and their softmax, with the batch above and the mixed images on the left.

    As in the paper, rows are mixed images and columns images of the batch: the matrices are drawn
    transposed. One mixed image and its two sources are framed.

    Args:
        images: (B, C, H, W) in [0, 1], the unmixed view, 2 <= B <= 32.
        mixed: (B, C, H, W) in [0, 1], the mixed images.
        similarity: (B, B) from ``virtual_similarity``: rows are images, columns mixed images.
        probabilities: (B, B) from ``virtual_probabilities``.
        targets: (B, B) from ``virtual_targets``.
        lam: λ of the mixture.

    Raises:
        ValueError: Wrong shapes or ranges.
    """
    thumbnails, mixtures = to_images(images, "images"), to_images(mixed, "mixed")
    batch = len(thumbnails)
    if not 2 <= batch <= MAX_BATCH or len(mixtures) != batch:
        raise ValueError(
            f"images and mixed must be 2 to {MAX_BATCH} images each, got {batch} and {len(mixtures)}"
        )
    matrices = [to_array(matrix) for matrix in (targets, similarity, probabilities)]
    if any(matrix.shape != (batch, batch) for matrix in matrices):
        shapes = [matrix.shape for matrix in matrices]
        raise ValueError(f"{batch} images need matrices of {batch} x {batch}, got {shapes}")

    reach = max(float(np.abs(matrices[1]).max()), 1e-6)
    # Small probabilities, as with the paper's temperature of 2, need a scale of their own to be seen.
    largest = max(float(matrices[2].max()), 1e-6)
    panels = (
        (f"(A) target, λ = {float(lam):.2f}", "Blues", 0.0, 1.0),
        ("(B) cosine similarity", "RdBu_r", -reach, reach),
        ("(C) after softmax", "Blues", 0.0, 1.0 if largest > 0.5 else largest),
    )
    width = PAGE / 3
    side = (width - COLOUR_BAR - WORDS - 2 * GAP) / (1 + 1 / batch)  # inches
    cell = side / batch
    height = cell + side + HEADING + 2 * GAP
    figure = new_figure(3 * width, height)
    figure.set_layout_engine("none")  # axes are placed explicitly to align strips and matrix

    for number, (matrix, (title, colours, low, high)) in enumerate(zip(matrices, panels, strict=True)):
        left = number * width + WORDS

        def place(x: float, y: float, w: float, h: float, left: float = left) -> Axes:
            return figure.add_axes(((left + x) / (3 * width), y / height, w / (3 * width), h / height))

        axes = place(cell + GAP / 2, GAP, side, side)
        above = place(cell + GAP / 2, side + 1.5 * GAP, side, cell)
        beside = place(0, GAP, cell, side)
        scale = place(cell + side + 2 * GAP, GAP, 0.08, side)
        drawn = axes.imshow(matrix.T, cmap=colours, vmin=low, vmax=high, interpolation="nearest")
        bare(axes)
        _strip(above, np.concatenate(thumbnails, axis=1), batch, 1)
        _strip(beside, np.concatenate(mixtures, axis=0), 1, batch)
        above.vlines(range(1, batch), 0, 1, color="white", linewidth=0.6)
        beside.hlines(range(1, batch), 0, 1, color="white", linewidth=0.6)
        for column in (0, batch - 1):
            _frame(above, column, PALETTE[2])
        _frame(beside, 0, PALETTE[1])
        bare(above)
        bare(beside)
        above.set_title(f"{title}\nimages of the batch", fontsize=LABEL, pad=3)
        beside.set_ylabel("mixed images", fontsize=LABEL, labelpad=2)
        colour_bar(figure, drawn, "", cax=scale)
    return figure


def _strip(axes: Axes, pictures: np.ndarray, width: int, height: int) -> None:
    """Draw concatenated images over ``width`` x ``height`` units, from the top left."""
    extent = (0, width, height, 0)
    axes.imshow(pictures, extent=extent, aspect="auto", interpolation="nearest", vmin=0, vmax=1)


def _frame(axes: Axes, x: float, colour: str) -> None:
    """Draw a coloured frame around the image in column ``x`` of the first row."""
    axes.add_patch(
        Rectangle((x, 0), 1, 1, fill=False, edgecolor=colour, linewidth=1.5, clip_on=False, zorder=3)
    )

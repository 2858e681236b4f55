"""Images with annotated boxes and detections side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from .style import CELL_TEXT, LABEL, PAGE, bare, legend_below, new_figure, text_colour, to_array

PANEL = PAGE / 2
# Okabe and Ito's colours that are seen on photographs, where black is not.
STRONG = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
LINE = 1.2  # points


def detection_panels(
    images: Sequence[Any],
    true: Sequence[Mapping[str, Any]],
    found: Sequence[Mapping[str, Any]],
    classes: Sequence[str],
    *,
    threshold: float = 0.5,
) -> Figure:
    """Draw one row per image: annotated boxes on the left, detections on the right, coloured by class.

    Difficult boxes are dashed. A detection is labelled with its class and score.

    Args:
        images: N >= 1 uint8 images (3, H, W) of any sizes.
        true: Per image ``boxes`` (M, 4) x1, y1, x2, y2 in pixels, ``labels`` (M,), ``difficult`` (M,).
        found: Per image ``boxes`` (P, 4), ``labels`` (P,), ``scores`` (P,).
        classes: Names of the classes.
        threshold: Lowest score of the detections drawn.

    Returns:
        Figure with 2 · N axes, row by row.

    Raises:
        ValueError: Numbers of images differ, or an image has the wrong shape or dtype.
    """
    pictures = [to_array(image) for image in images]
    if not pictures or not len(pictures) == len(true) == len(found):
        raise ValueError(
            f"annotations of {len(true)} and detections of {len(found)} images for {len(pictures)} images"
        )
    for picture in pictures:
        if picture.dtype != "uint8" or picture.ndim != 3 or picture.shape[0] != 3:
            raise ValueError(f"an image must be uint8 (3, H, W), got {picture.dtype} {picture.shape}")
    colours = class_colours(len(classes))
    heights = [PANEL * picture.shape[1] / picture.shape[2] for picture in pictures]
    figure = new_figure(2 * PANEL, sum(heights) + 0.25, gap=0.01)
    grid = figure.subplots(len(pictures), 2, squeeze=False, height_ratios=heights)
    seen: set[int] = set()
    for (left, right), picture, truth, detections in zip(grid, pictures, true, found, strict=True):
        for axes in (left, right):
            axes.imshow(picture.transpose(1, 2, 0), interpolation="nearest", extent=_edges(picture))
            axes.set(xlim=(0, picture.shape[2]), ylim=(picture.shape[1], 0))
            bare(axes)
        for box, label, difficult in _rows(truth, "difficult"):
            _draw(left, box, colours[label], style="--" if difficult else "-")
            seen.add(label)
        for box, label, score in _rows(detections, "scores"):
            if score >= threshold:
                _draw(right, box, colours[label], words=f"{classes[label]} {score:.2f}")
                seen.add(label)
    grid[0, 0].set_title("annotated", fontsize=LABEL)
    grid[0, 1].set_title(f"found, score at least {threshold:g}", fontsize=LABEL)
    lines = [Line2D([], [], color=colours[label]) for label in sorted(seen)]
    if lines:
        legend_below(figure, lines, [classes[label] for label in sorted(seen)])
    return figure


def class_colours(count: int) -> list[str]:
    """Distinct colours; beyond 20 classes neighbouring colours are similar.

    >>> len(set(class_colours(3))), len(set(class_colours(20))), len(set(class_colours(80)))
    (3, 20, 80)
    """
    if count <= len(STRONG):
        return list(STRONG[:count])
    if count <= 20:
        return [to_hex(matplotlib.colormaps["tab20"](index)) for index in range(count)]
    return [to_hex(matplotlib.colormaps["gist_rainbow"](place / (count - 1))) for place in range(count)]


def _edges(picture: Any) -> tuple[int, int, int, int]:
    # Box coordinates are pixel edges from 0; imshow's default extent has pixel centres at integers.
    return 0, picture.shape[2], picture.shape[1], 0


def _rows(values: Mapping[str, Any], third: str) -> list[tuple[Any, int, Any]]:
    boxes, labels, more = (to_array(values[key]).tolist() for key in ("boxes", "labels", third))
    return list(zip(boxes, labels, more, strict=True))


def _draw(axes: Axes, box: Sequence[float], colour: str, *, style: str = "-", words: str = "") -> None:
    x1, y1, x2, y2 = box
    axes.add_patch(
        Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=colour, linewidth=LINE, linestyle=style)
    )
    if words:
        # Inside the upper edge, right-aligned near the right border, so that the text stays in the panel.
        right = x1 > 0.8 * axes.get_xlim()[1]
        axes.text(
            x2 if right else x1,
            y1,
            words,
            fontsize=CELL_TEXT,
            color=text_colour(colour),
            ha="right" if right else "left",
            va="top",
            clip_on=True,
            bbox=dict(facecolor=colour, edgecolor="none", alpha=0.8, pad=0.6),
        )

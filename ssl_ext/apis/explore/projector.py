"""Features with thumbnails and metadata for TensorBoard's projector."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from .points import Points
from .side import Side
from .thumbnails import shrink

SPRITE = 8192  # TensorBoard's largest sprite, in pixels


def write_projector(run: Path, points: Points, side: Side, images: Tensor) -> Path:
    """Write features, metadata and thumbnails (N, 3, h, w) of a run; return the folder.

    They are written beside the newest curves of the run, or to ``vis_data`` without curves, and replace an
    earlier embedding there.
    """
    from torch.utils.tensorboard import SummaryWriter

    logs = sorted(path.parent for path in run.glob("*/vis_data/events.out.tfevents.*"))
    folder = logs[-1] if logs else run / "vis_data"
    columns: dict[str, Sequence[str | None]] = {
        "image": points.files or [str(row) for row in points.rows.tolist()],
        "class": points.texts(points.labels),
        "cluster": [str(cluster) for cluster in side.clusters.tolist()],
    }
    if points.groups is not None:
        columns["group"] = points.groups
    if side.predicted is not None and side.correct is not None:
        columns["predicted"] = points.texts(side.predicted)
        columns["correct"] = [{1: "right", 0: "wrong"}.get(code) for code in side.correct.tolist()]
    lines = [
        [re.sub(r"\s+", " ", text or "-") for text in line] for line in zip(*columns.values(), strict=True)
    ]
    largest = SPRITE // (int((len(points) - 1) ** 0.5) + 1)
    with SummaryWriter(str(folder)) as writer:
        writer.add_embedding(
            torch.from_numpy(side.features), metadata=lines, metadata_header=list(columns),
            label_img=shrink(images, largest).float() / 255, tag=points.split,
        )  # fmt: skip
    return folder

"""Report of an audit: splits in numbers, problems and notes, as a table and as JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Group
from rich.table import Table

from ssl_ext.files import write_text

MANY = 40  # classes shown in the terminal


@dataclass(frozen=True)
class Part:
    """A split: numbers of images, labelled ones and groups, classes, and statistics of the pixels.

    ``classes`` counts the labels of each class. ``mean`` and ``std`` of each channel are in [0, 1]. ``sizes``
    are the smallest and the largest height and width, and the number of different sizes.
    """

    images: int
    labelled: int
    groups: int | None
    classes: dict[str, int]
    channels: int
    mean: list[float]
    std: list[float]
    sizes: dict[str, Any]


@dataclass(frozen=True)
class Audit:
    """Findings: ``problems`` make results wrong, ``notes`` need not.

    ``duplicates`` lists sets of exactly equal images, each by split: file names, or positions in the split.
    ``shared_groups`` are the groups with images in two splits, under ``'train, test'`` and so on.
    """

    splits: dict[str, Part]
    shared_groups: dict[str, list[str]]
    duplicates: list[dict[str, list[str | int]]]
    problems: list[str]
    notes: list[str]

    def write(self, path: str | os.PathLike) -> None:
        """Write everything as JSON."""
        write_text(path, json.dumps(asdict(self), indent=2, ensure_ascii=False))

    def rich(self) -> Group:
        """Tables of splits and classes, and the findings as lines."""
        about = Table("split", "images", "labelled", "groups", "height x width", "mean", "std")
        for name, part in self.splits.items():
            numbers = [str(part.images), str(part.labelled), "-" if part.groups is None else str(part.groups)]
            channels = (" ".join(f"{value:.3f}" for value in values) for values in (part.mean, part.std))
            about.add_row(name, *numbers, _size(part.sizes), *channels)
        names = list(dict.fromkeys(name for part in self.splits.values() for name in part.classes))
        classes = Table("class", *self.splits)
        for name in names[:MANY]:
            classes.add_row(name, *(str(part.classes.get(name, "-")) for part in self.splits.values()))
        if len(names) > MANY:
            classes.add_row(f"and {len(names) - MANY} more", *("" for _ in self.splits))
        lines = [f"problem: {line}" for line in self.problems] + [f"note: {line}" for line in self.notes]
        return Group(about, classes, *(lines or ["no problem found"]))


def _size(sizes: Mapping[str, Any]) -> str:
    smallest, largest = (" x ".join(map(str, sizes[key])) for key in ("smallest", "largest"))
    return smallest if sizes["different"] == 1 else f"{smallest} to {largest} ({sizes['different']} sizes)"

"""Result of an audit: statistics of each split, problems and notes, as tables and as JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Group
from rich.table import Table

from ssl_ext.files import write_text

MANY = 40  # classes shown in the terminal


@dataclass(frozen=True)
class Part:
    """Statistics of one split.

    ``images``, ``labelled`` and ``groups`` are counts; ``classes`` maps each class to its number of images.
    ``mean`` and ``std`` are per channel, in [0, 1]. ``sizes`` has the smallest and largest (height, width)
    and the number of different sizes.
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
    """Result of an audit: ``problems`` invalidate results, ``notes`` do not.

    ``drawn`` has the class counts of the first draw of each number of labels that was asked for.
    ``duplicates`` lists sets of identical images as ``{split: file names or rows}``. ``shared_groups`` maps
    pairs such as ``'train, test'`` to the groups with images in both splits.
    """

    splits: dict[str, Part]
    shared_groups: dict[str, list[str]]
    duplicates: list[dict[str, list[str | int]]]
    problems: list[str]
    notes: list[str]
    drawn: dict[str, dict[str, int]] = field(default_factory=dict)

    def write(self, path: str | os.PathLike) -> None:
        """Write the result as JSON."""
        write_text(path, json.dumps(asdict(self), indent=2, ensure_ascii=False))

    def rich(self) -> Group:
        """Return tables of splits and classes, followed by one line per problem and note."""
        about = Table("split", "images", "labelled", "groups", "height x width", "mean", "std")
        for name, part in self.splits.items():
            numbers = [str(part.images), str(part.labelled), "-" if part.groups is None else str(part.groups)]
            channels = (" ".join(f"{value:.3f}" for value in values) for values in (part.mean, part.std))
            about.add_row(name, *numbers, _size(part.sizes), *channels)
        columns = {name: part.classes for name, part in self.splits.items()} | self.drawn
        names = list(dict.fromkeys(name for counts in columns.values() for name in counts))
        classes = Table("class", *columns)
        for name in names[:MANY]:
            classes.add_row(name, *(str(counts.get(name, "-")) for counts in columns.values()))
        if len(names) > MANY:
            classes.add_row(f"and {len(names) - MANY} more", *("" for _ in columns))
        classes.add_row("all", *(str(sum(counts.values())) for counts in columns.values()))
        lines = [f"problem: {line}" for line in self.problems] + [f"note: {line}" for line in self.notes]
        return Group(about, classes, *(lines or ["no problem found"]))


def _size(sizes: Mapping[str, Any]) -> str:
    smallest, largest = (" x ".join(map(str, sizes[key])) for key in ("smallest", "largest"))
    return smallest if sizes["different"] == 1 else f"{smallest} to {largest} ({sizes['different']} sizes)"

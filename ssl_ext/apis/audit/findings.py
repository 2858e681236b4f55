"""Find problems in data sets: overlapping splits, duplicate images, inconsistent labels, channels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from ssl_ext.datasets.contents import Contents

from .report import Part

PRETRAINING = "pretraining"
NAMED = 5  # groups, classes and images listed in a sentence
# Duplicate images as (split, row).
Rows = list[tuple[str, int]]


class Findings:
    """Findings in the data sets of one config.

    Args:
        data: Data sets by split; images that ``'pretraining'`` shares with val or test give a note.
        contents: Hashes and pixel statistics of each data set.
        parts: Statistics of each data set.
    """

    def __init__(
        self, data: Mapping[str, Any], contents: Mapping[str, Contents], parts: Mapping[str, Part]
    ) -> None:
        self.data, self.contents, self.parts = data, contents, parts
        self.splits = [name for name in data if name != PRETRAINING]
        self.copies = self._copies()

    def shared_groups(self) -> dict[str, list[str]]:
        """Return the groups with images in two splits, keyed ``'train, test'`` and so on."""
        groups = {name: set(found) for name, found in self._groups().items() if name in self.splits}
        shared = {(a, b): sorted(map(str, groups[a] & groups[b])) for a, b in combinations(groups, 2)}
        return {f"{a}, {b}": names for (a, b), names in shared.items() if names}

    def duplicates(self) -> list[dict[str, list[str | int]]]:
        """Return sets of duplicate images as ``{split: file names or positions}``."""
        sets: list[dict[str, list[str | int]]] = []
        for rows in self.copies:
            sets.append({})
            for split, row in rows:
                sets[-1].setdefault(split, []).append(self._name(split, row))
        return sets

    def problems(self) -> list[str]:
        """Describe the findings that invalidate results, one sentence each."""
        shared = self.shared_groups().items()
        lines = [f"{_listed(n, 'group', 'groups')} in both {p.replace(', ', ' and ')}." for p, n in shared]
        unreadable = [f"{name}: {error}" for name, one in self.contents.items() for error in one.unreadable]
        return [*lines, *self._overlaps(), *self._conflicts(), *self._absent_classes(), *unreadable]

    def notes(self) -> list[str]:
        """Describe findings that do not invalidate results, one sentence each."""
        grey = [name for name, one in self.contents.items() if one.means.shape[1] == 3 and one.grey.all()]
        lines = [f"Grey images with three equal channels: all of {', '.join(grey)}."] if grey else []
        if not self._groups():
            lines.append("No groups: the patient, lesion or slide of the images is not recorded.")
        return [*self._pretrained(), *self._inner_copies(), *self._blank(), *lines]

    def _groups(self) -> dict[str, np.ndarray]:
        groups = {name: getattr(dataset, "groups", None) for name, dataset in self.data.items()}
        return {name: found for name, found in groups.items() if found is not None}

    def _copies(self) -> list[Rows]:
        found: dict[bytes, Rows] = {}
        for name in self.splits:
            for row, digest in enumerate(self.contents[name].digests):
                if digest:
                    found.setdefault(digest, []).append((name, row))
        return [rows for rows in found.values() if len(rows) > 1]

    def _overlaps(self) -> Iterator[str]:
        for first, second in combinations(self.splits, 2):
            sets = [rows for rows in self.copies if {first, second} <= {name for name, _ in rows}]
            images = [self._name(*row) for rows in sets for row in rows if row[0] == second]
            if images:
                yield f"{_listed(images, 'image', 'images')} of {second} also in {first}."

    def _conflicts(self) -> Iterator[str]:
        found = []
        for rows in self.copies:
            labels = [self.data[name].labels[row].tolist() for name, row in rows]
            known = [label for label in labels if min(np.atleast_1d(label)) >= 0]
            if any(label != known[0] for label in known):
                found.append(" = ".join(f"{name} {self._name(name, row)}" for name, row in rows[:NAMED]))
        if found:
            yield f"Duplicate images with different labels: {_some(found)}."

    def _absent_classes(self) -> Iterator[str]:
        for name in self.splits:
            if absent := [label for label, count in self.parts[name].classes.items() if not count]:
                yield f"{_listed(absent, 'class', 'classes')} without images in {name}."

    def _pretrained(self) -> Iterator[str]:
        if PRETRAINING in self.data:
            known = set(self.contents[PRETRAINING].digests)
            for split in self.splits[1:]:
                if count := sum(digest in known for digest in self.contents[split].digests if digest):
                    yield f"Pretraining uses {count} images of {split}, without their labels."

    def _inner_copies(self) -> Iterator[str]:
        for split in self.splits:
            found = [[self._name(split, row) for name, row in rows if name == split] for rows in self.copies]
            if again := [image for images in found for image in images[1:]]:
                yield f"{_listed(again, 'image', 'images')} of {split} duplicated within {split}."

    def _blank(self) -> Iterator[str]:
        for name, one in self.contents.items():
            if rows := np.flatnonzero(one.constant).tolist():
                blank = [self._name(name, row) for row in rows]
                yield f"{_listed(blank, 'image', 'images')} of {name} with a single colour."

    def _name(self, split: str, row: int) -> str | int:
        """Return the file name of an image, or its row if the data set has no files."""
        files = getattr(self.data[split], "files", None)
        return str(files[row]) if files else row


def _some(names: Sequence[Any]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(map(str, names[:NAMED])) + more


def _listed(names: Sequence[Any], one: str, several: str) -> str:
    return f"{len(names)} {one if len(names) == 1 else several} ({_some(names)})"

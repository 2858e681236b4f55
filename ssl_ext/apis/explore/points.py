"""The images of an explorer page, and their categories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssl_ext.datasets.paths import Paths
from ssl_ext.evaluation import labelled_rows
from ssl_ext.files import shown

NONE = 0xFFFF
"""Code of a point without a category."""


@dataclass(frozen=True)
class Categories:
    """Names of categories, and the uint16 code of each point (N,); ``NONE``: without a category."""

    names: list[str]
    codes: np.ndarray

    @classmethod
    def of(cls, texts: Sequence[str | None], names: Sequence[str] = ()) -> Categories:
        """Number the texts in the order of ``names``, then by their own order.

        >>> Categories.of(["b", None, "a"]).codes.tolist(), Categories.of(["b"], ["b", "a"]).names
        ([1, 65535, 0], ['b', 'a'])
        """
        known = dict.fromkeys([*names, *sorted({text for text in texts if text is not None})])
        place = {name: code for code, name in enumerate(known)} | {None: NONE}
        return cls(list(known), np.array([place[text] for text in texts], np.uint16))


def file_names(dataset: Any, rows: Sequence[int], root: str) -> list[str] | None:
    """Paths of some images, relative to ``root`` if they are below it; None without files."""
    files: Paths | None = getattr(dataset, "files", None)
    return None if files is None else [shown(files.name(row)).removeprefix(f"{root}/") for row in rows]


@dataclass(frozen=True)
class Points:
    """Chosen images of a split.

    Attributes:
        split: Name of the split.
        rows: Rows of the images in the split (N,), increasing.
        files: Names of their files; None for images in arrays, and if they are left out.
        labels: int64 (N,), or (N, L) for several labels per image; negative: unlabelled.
        names: Names of the classes.
        groups: Patient, lesion or slide of each image, or None.
        anonymous: File names are left out, and groups are numbers.
    """

    split: str
    rows: Tensor
    files: list[str] | None
    labels: Tensor
    names: list[str]
    groups: list[str] | None
    anonymous: bool = False

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def choose(
        cls, dataset: Any, split: str, limit: int, seed: int, *, root: str = "", names: bool = True
    ) -> Points:
        """Choose up to ``limit`` images at random; files in ``root`` are named relative to it.

        Without ``names`` files have none, and groups are numbered as they appear.
        """
        order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(seed))
        rows = order[:limit].sort().values
        groups = getattr(dataset, "groups", None)
        if groups is not None:
            groups = [shown(groups[row]) for row in rows.tolist()]
            if not names:
                numbers = {name: str(number) for number, name in enumerate(dict.fromkeys(groups), start=1)}
                groups = [numbers[name] for name in groups]
        return cls(
            split=split,
            rows=rows,
            files=file_names(dataset, rows.tolist(), root) if names else None,
            labels=torch.as_tensor(dataset.labels).cpu()[rows],
            names=[str(name) for name in dataset.classes or range(dataset.num_classes)],
            groups=groups,
            anonymous=not names,
        )

    def texts(self, classes: Tensor) -> list[str | None]:
        """Class names of labels or predictions like :attr:`labels`; several labels are joined by ``+``."""
        if classes.ndim == 1:
            return [self.names[code] if code >= 0 else None for code in classes.tolist()]
        named = [[name for name, one in zip(self.names, row, strict=True) if one] for row in classes.tolist()]
        known = labelled_rows(classes).tolist()
        return [" + ".join(names) or "none" if one else None for names, one in zip(named, known, strict=True)]

"""A sequence of paths or names in one byte buffer."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any, overload

import numpy as np


class Paths(Sequence[str]):
    r"""Strings in one buffer, which worker processes share.

    Reading an element of a list of strings writes its reference count, so a forked process copies the
    memory page. Names that are not UTF-8 keep their bytes.

    Args:
        buffer: bytes of all names, uint8.
        ends: end of each name in the buffer (N,), int64.
        root: folder joined to every name.

    >>> paths = Paths.of(["a/1.png", "b.png"], root="data")
    >>> paths[1], len(paths), list(paths) == paths
    ('data/b.png', 2, True)
    """

    def __init__(self, buffer: np.ndarray, ends: np.ndarray, *, root: str = "") -> None:
        self.buffer, self.ends, self.root = buffer, ends, root

    @classmethod
    def of(cls, names: Iterable[str | os.PathLike], *, root: str = "") -> Paths:
        """Pack names."""
        parts = [os.fsencode(name) for name in names]
        ends = np.fromiter(accumulate(map(len, parts)), np.int64, len(parts))
        return cls(np.frombuffer(b"".join(parts), np.uint8), ends, root=root)

    def name(self, index: int) -> str:
        """Name without the root."""
        index = range(len(self))[index]
        start = self.ends[index - 1] if index else 0
        return os.fsdecode(self.buffer[start : self.ends[index]].tobytes())

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: Any) -> Any:
        """Path at an index, or list of the paths of a slice."""
        if isinstance(index, slice):
            return [self[place] for place in range(len(self))[index]]
        return os.path.join(self.root, self.name(index)) if self.root else self.name(index)

    def __len__(self) -> int:
        """Number of paths."""
        return len(self.ends)

    def __eq__(self, other: object) -> bool:
        """Return True for any sequence of equal strings."""
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(map(str.__eq__, self, other))

    def __add__(self, other: Sequence[str]) -> list[str]:
        """List of the paths of both."""
        return [*self, *other]

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        """Count and first path."""
        return f"Paths({len(self)}{f', first {self[0]!r}' if len(self) else ''})"

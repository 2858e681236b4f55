"""DDP with the same buckets of gradients in every step."""

from __future__ import annotations

from typing import Any


class FixedBuckets:
    """DDP's reducer, which keeps the buckets that it has at the start.

    After its first step DDP arranges the gradients by the order in which they were computed. A sum over three
    or more processes rounds according to the place of a number in its bucket, so the first step after a
    resumption would differ from the same step of an uninterrupted run.

    Args:
        reducer: The reducer of a :class:`torch.nn.parallel.DistributedDataParallel`.
    """

    def __init__(self, reducer: Any) -> None:
        self._reducer = reducer

    def __getattr__(self, name: str) -> Any:
        """Attributes of the reducer."""
        return getattr(self._reducer, name)

    def _rebuild_buckets(self) -> bool:
        return False

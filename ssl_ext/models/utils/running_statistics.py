"""Batch normalisation that leaves its running statistics alone for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def running_statistics_kept(module: nn.Module) -> Iterator[None]:
    """Forward passes inside neither change nor count towards the running statistics of batch normalisation.

    Training still normalises by the batch, evaluation by the running statistics. For passes over what the
    network will never be evaluated on, such as the patches of a jigsaw.

    >>> import torch
    >>> norm = nn.BatchNorm1d(2)
    >>> with running_statistics_kept(norm):
    ...     _ = norm(torch.randn(8, 2) + 5)
    >>> norm.running_mean.tolist(), int(norm.num_batches_tracked)
    ([0.0, 0.0], 0)
    """
    tracking = [m for m in module.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    for norm in tracking:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in tracking:
            norm.track_running_stats = True

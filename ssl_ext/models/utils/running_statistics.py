"""Forward passes that leave the running statistics of batch normalisation unchanged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def running_statistics_kept(module: nn.Module) -> Iterator[None]:
    """Keep the running statistics and batch counters of batch normalisation unchanged inside.

    Training mode still normalises by batch statistics, evaluation mode by running statistics. For inputs that
    the network is not evaluated on, such as jigsaw patches.

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

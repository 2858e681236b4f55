"""Small parts that several algorithms share."""

from .memory_bank import MemoryBank
from .momentum import MomentumNetwork, check_momentum, momentum_at
from .pooling import pool_features
from .queue import Queue
from .running_statistics import running_statistics_kept
from .split_batch_norm import SplitBN

__all__ = [
    "MemoryBank",
    "MomentumNetwork",
    "Queue",
    "SplitBN",
    "check_momentum",
    "momentum_at",
    "pool_features",
    "running_statistics_kept",
]

"""Small parts that several algorithms share."""

from .block_mixing import BlockMixing
from .cluster_bank import ClusterBank
from .frozen import frozen
from .label_source import LabelSource
from .memory_bank import MemoryBank
from .mixing import MixingPolicy
from .momentum import MomentumNetwork, check_momentum, momentum_at
from .pooling import pool_features
from .queue import Queue
from .running_statistics import running_statistics_kept
from .split_batch_norm import SplitBN
from .stages import count_stages, stage_features, stage_replaced

__all__ = [
    "BlockMixing",
    "ClusterBank",
    "LabelSource",
    "MemoryBank",
    "MixingPolicy",
    "MomentumNetwork",
    "Queue",
    "SplitBN",
    "check_momentum",
    "count_stages",
    "frozen",
    "momentum_at",
    "pool_features",
    "running_statistics_kept",
    "stage_features",
    "stage_replaced",
]

"""Building blocks shared by several algorithms."""

from .block_mixing import BlockMixing
from .cluster_bank import ClusterBank
from .frozen import frozen
from .host_draws import host_random
from .label_source import LabelSource
from .layer_mixing import LayerMixing
from .memory_bank import MemoryBank
from .mixing import MixingPolicy
from .momentum import MomentumNetwork, check_momentum, momentum_at
from .pooling import pool_features
from .queue import Queue
from .running_statistics import running_statistics_kept
from .shuffling import shuffled
from .split_batch_norm import SplitBN
from .stages import backbone_stages, count_stages, stage_features, stage_replaced

__all__ = [
    "BlockMixing",
    "ClusterBank",
    "LabelSource",
    "LayerMixing",
    "MemoryBank",
    "MixingPolicy",
    "MomentumNetwork",
    "Queue",
    "SplitBN",
    "backbone_stages",
    "check_momentum",
    "count_stages",
    "frozen",
    "host_random",
    "momentum_at",
    "pool_features",
    "running_statistics_kept",
    "shuffled",
    "stage_features",
    "stage_replaced",
]

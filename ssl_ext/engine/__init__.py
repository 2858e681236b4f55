"""Runner, checkpoint files, weights in, and hooks."""

from .checkpoint import newest_checkpoint, read_checkpoint, write_checkpoint
from .hooks import FeatureMonitorHook, RandomStateHook, ThroughputHook, TrainLogHook
from .runner import PretrainRunner, init_process_group
from .weights import LoadReport, find_state_dict, load_weights

__all__ = [
    "FeatureMonitorHook",
    "LoadReport",
    "PretrainRunner",
    "RandomStateHook",
    "ThroughputHook",
    "TrainLogHook",
    "find_state_dict",
    "init_process_group",
    "load_weights",
    "newest_checkpoint",
    "read_checkpoint",
    "write_checkpoint",
]

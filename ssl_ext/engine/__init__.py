"""Runner, checkpoint files, weights in, and hooks."""

from .checkpoint import newest_checkpoint, read_checkpoint, write_checkpoint
from .hooks import (
    FeatureMonitorHook,
    ModelStepHook,
    OnlineProbeHook,
    RandomStateHook,
    ThroughputHook,
    TrainLogHook,
    ValidationLossHook,
)
from .runner import PretrainRunner, init_process_group
from .weights import LoadReport, find_state_dict, load_weights

__all__ = [
    "FeatureMonitorHook",
    "LoadReport",
    "ModelStepHook",
    "OnlineProbeHook",
    "PretrainRunner",
    "RandomStateHook",
    "ThroughputHook",
    "TrainLogHook",
    "ValidationLossHook",
    "find_state_dict",
    "init_process_group",
    "load_weights",
    "newest_checkpoint",
    "read_checkpoint",
    "write_checkpoint",
]

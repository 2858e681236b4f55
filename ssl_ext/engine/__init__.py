"""Runner, checkpoint files, weights in, and hooks."""

from .checkpoint import newest_checkpoint, read_checkpoint, write_checkpoint
from .hooks import (
    CheckpointHook,
    FeatureMonitorHook,
    FiniteGuardHook,
    ModelStepHook,
    NonFiniteError,
    OnlineProbeHook,
    RandomStateHook,
    TerminationHook,
    ThroughputHook,
    TrainLogHook,
    ValidationLossHook,
)
from .loop import EpochLoop
from .runner import PretrainRunner, init_process_group
from .weights import LoadReport, find_state_dict, load_weights

__all__ = [
    "CheckpointHook",
    "EpochLoop",
    "FeatureMonitorHook",
    "FiniteGuardHook",
    "LoadReport",
    "ModelStepHook",
    "NonFiniteError",
    "OnlineProbeHook",
    "PretrainRunner",
    "RandomStateHook",
    "TerminationHook",
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

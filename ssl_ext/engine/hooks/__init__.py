"""Hooks of a pretraining run."""

from .checkpoint import CheckpointHook
from .feature_monitor import FeatureMonitorHook
from .finite_guard import FiniteGuardHook, NonFiniteError
from .model_step import ModelStepHook
from .online_probe import OnlineProbeHook
from .random_state import RandomStateHook
from .termination import TerminationHook
from .throughput import ThroughputHook
from .train_log import TrainLogHook
from .validation_loss import ValidationLossHook

__all__ = [
    "CheckpointHook",
    "FeatureMonitorHook",
    "FiniteGuardHook",
    "ModelStepHook",
    "NonFiniteError",
    "OnlineProbeHook",
    "RandomStateHook",
    "TerminationHook",
    "ThroughputHook",
    "TrainLogHook",
    "ValidationLossHook",
]

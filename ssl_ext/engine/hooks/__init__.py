"""Hooks of a pretraining run."""

from .feature_monitor import FeatureMonitorHook
from .model_step import ModelStepHook
from .online_probe import OnlineProbeHook
from .random_state import RandomStateHook
from .throughput import ThroughputHook
from .train_log import TrainLogHook
from .validation_loss import ValidationLossHook

__all__ = [
    "FeatureMonitorHook",
    "ModelStepHook",
    "OnlineProbeHook",
    "RandomStateHook",
    "ThroughputHook",
    "TrainLogHook",
    "ValidationLossHook",
]

"""Hooks of a pretraining run."""

from .feature_monitor import FeatureMonitorHook
from .random_state import RandomStateHook
from .throughput import ThroughputHook
from .train_log import TrainLogHook

__all__ = ["FeatureMonitorHook", "RandomStateHook", "ThroughputHook", "TrainLogHook"]

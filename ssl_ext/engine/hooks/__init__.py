"""Hooks of a pretraining run."""

from .checkpoint import CheckpointHook
from .classifier_evaluation import ClassifierEvaluationHook, median_of_last
from .clusters import ClusterHook
from .console import ConsoleHook
from .feature_monitor import FeatureMonitorHook
from .finite_guard import FiniteGuardHook, NonFiniteError
from .first_step import FirstStepHook
from .model_step import ModelStepHook
from .online_probe import OnlineProbeHook
from .process_state import ProcessStateHook
from .random_state import RandomStateHook
from .step_hook import StepHook
from .step_timer import IterTimerHook
from .termination import TerminationHook
from .throughput import ThroughputHook
from .train_log import TrainLogHook
from .validation_loss import ValidationLossHook

__all__ = [
    "CheckpointHook",
    "ClassifierEvaluationHook",
    "ClusterHook",
    "ConsoleHook",
    "FeatureMonitorHook",
    "FiniteGuardHook",
    "FirstStepHook",
    "IterTimerHook",
    "ModelStepHook",
    "NonFiniteError",
    "OnlineProbeHook",
    "ProcessStateHook",
    "RandomStateHook",
    "StepHook",
    "TerminationHook",
    "ThroughputHook",
    "TrainLogHook",
    "ValidationLossHook",
    "median_of_last",
]

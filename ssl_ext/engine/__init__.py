"""Runner, training step, optimisers, hooks, and checkpoint and weight files."""

from .hooks import (
    CheckpointHook,
    ClassifierEvaluationHook,
    ClusterHook,
    FeatureMonitorHook,
    FiniteGuardHook,
    FirstStepHook,
    ModelStepHook,
    NonFiniteError,
    OnlineProbeHook,
    ProcessStateHook,
    RandomStateHook,
    TerminationHook,
    ThroughputHook,
    TrainLogHook,
    ValidationLossHook,
    median_of_last,
)
from .lars import LARS
from .loop import EpochLoop, IterLoop
from .optim_wrappers import BFloat16OptimWrapper, OptimWrapper
from .runner import PretrainRunner, init_process_group
from .visualizer import Visualizer
from .weights.checkpoint import checkpoint_of, newest_checkpoint, read_checkpoint, write_checkpoint
from .weights.load import LoadReport, find_state_dict, load_weights

__all__ = [
    "LARS",
    "BFloat16OptimWrapper",
    "CheckpointHook",
    "ClassifierEvaluationHook",
    "ClusterHook",
    "EpochLoop",
    "FeatureMonitorHook",
    "FiniteGuardHook",
    "FirstStepHook",
    "IterLoop",
    "LoadReport",
    "ModelStepHook",
    "NonFiniteError",
    "OnlineProbeHook",
    "OptimWrapper",
    "PretrainRunner",
    "ProcessStateHook",
    "RandomStateHook",
    "TerminationHook",
    "ThroughputHook",
    "TrainLogHook",
    "ValidationLossHook",
    "Visualizer",
    "checkpoint_of",
    "find_state_dict",
    "init_process_group",
    "load_weights",
    "median_of_last",
    "newest_checkpoint",
    "read_checkpoint",
    "write_checkpoint",
]

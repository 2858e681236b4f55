"""Recorded and replayed training steps: CUDA graphs, or tapes on the CPU."""

from .host_access import HostAccess, accelerator_branches, host_access
from .numbers import Numbers, Rates, fuse_adam, pinned
from .recorders import CaptureError, Graph, Recorder, Tape, own_stream
from .replayed import Replayed

__all__ = [
    "CaptureError",
    "Graph",
    "HostAccess",
    "Numbers",
    "Rates",
    "Recorder",
    "Replayed",
    "Tape",
    "accelerator_branches",
    "fuse_adam",
    "host_access",
    "own_stream",
    "pinned",
]

"""Weights and checkpoints: file formats, layouts of other libraries, loading and writing."""

from .checkpoint import checkpoint_of, newest_checkpoint, read_checkpoint, write_checkpoint
from .load import LoadReport, find_state_dict, load_weights

__all__ = [
    "LoadReport",
    "checkpoint_of",
    "find_state_dict",
    "load_weights",
    "newest_checkpoint",
    "read_checkpoint",
    "write_checkpoint",
]

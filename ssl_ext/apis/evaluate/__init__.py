"""Evaluation of a checkpoint: one table of results."""

from .evaluate import evaluate

__all__ = ["evaluate"]

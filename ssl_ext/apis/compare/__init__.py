"""Comparison of two models on the same images, or of two methods over pretraining seeds."""

from .run import compare

__all__ = ["compare"]

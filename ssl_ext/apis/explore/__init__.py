"""Embedding explorer: one HTML page with the images of a split as points of a projection."""

from .run import explore

__all__ = ["explore"]

"""Train and evaluate every point of a grid of settings."""

from .run import sweep

__all__ = ["sweep"]

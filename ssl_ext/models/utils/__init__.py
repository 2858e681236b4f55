"""Small parts that several algorithms share."""

from .pooling import pool_features

__all__ = ["pool_features"]

"""Audit of a config's data: groups and images in several splits, class counts, sizes and channels."""

from .run import audit

__all__ = ["audit"]

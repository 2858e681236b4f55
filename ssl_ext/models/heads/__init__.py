"""Heads: from embeddings to a dict of named, weighted loss terms."""

from .barlow_twins_head import BarlowTwinsHead
from .trimix_head import TriMixHead

__all__ = ["BarlowTwinsHead", "TriMixHead"]

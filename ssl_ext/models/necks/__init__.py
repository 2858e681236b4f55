"""Necks: from backbone features to embeddings; a tuple in, a tuple out."""

from .bi_projector import BiProjector

__all__ = ["BiProjector"]

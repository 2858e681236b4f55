"""The papers' losses as pure functions of tensors; nothing here needs more than PyTorch."""

from ssl_ext.losses.barlow_twins import barlow_twins_terms, cross_correlation
from ssl_ext.losses.distributed import all_reduce_mean, all_reduce_sum, gather, world_size
from ssl_ext.losses.self_consistency import self_consistency_loss
from ssl_ext.losses.standardize import standardize
from ssl_ext.losses.trimix import TriMixTerms, trimix_terms
from ssl_ext.losses.virtual_embeddings import (
    virtual_embedding_loss,
    virtual_embedding_terms,
    virtual_probabilities,
    virtual_similarity,
    virtual_targets,
)

__all__ = [
    "TriMixTerms",
    "all_reduce_mean",
    "all_reduce_sum",
    "barlow_twins_terms",
    "cross_correlation",
    "gather",
    "self_consistency_loss",
    "standardize",
    "trimix_terms",
    "virtual_embedding_loss",
    "virtual_embedding_terms",
    "virtual_probabilities",
    "virtual_similarity",
    "virtual_targets",
    "world_size",
]

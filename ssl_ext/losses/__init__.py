"""Losses as pure functions of tensors; they depend on PyTorch only."""

from ssl_ext.losses.barlow_twins import barlow_twins_terms, cross_correlation
from ssl_ext.losses.cluster_cross_entropy import cluster_cross_entropy
from ssl_ext.losses.contrastive import (
    ContrastiveTerms,
    info_nce,
    info_nce_terms,
    nt_xent,
    nt_xent_terms,
)
from ssl_ext.losses.cosine_regression import cosine_regression
from ssl_ext.losses.distributed import all_reduce_mean, all_reduce_sum, gather, mean_over, rank, world_size
from ssl_ext.losses.hard_negatives import mix_hard_negatives, mochi_terms
from ssl_ext.losses.i_mix import i_mix_terms
from ssl_ext.losses.jaccard import jaccard_similarity
from ssl_ext.losses.jaccard_contrastive import (
    JaccardTerms,
    jaccard_contrastive_loss,
    jaccard_contrastive_terms,
    jaccard_weights,
)
from ssl_ext.losses.mixed_cross_entropy import mixed_cross_entropy
from ssl_ext.losses.mixup_binary import mixup_bce, mixup_pbce
from ssl_ext.losses.mixup_contrastive import mixup_info_nce, weighted_info_nce
from ssl_ext.losses.pirl import nce_terms, pirl_terms
from ssl_ext.losses.self_consistency import self_consistency_loss
from ssl_ext.losses.standardize import standardize, unit_rows
from ssl_ext.losses.swav import sinkhorn_knopp, swapped_prediction_loss
from ssl_ext.losses.trimix import TriMixTerms, trimix_terms
from ssl_ext.losses.vicreg import vicreg_terms
from ssl_ext.losses.virtual_embeddings import (
    virtual_embedding_loss,
    virtual_embedding_terms,
    virtual_targets,
)
from ssl_ext.losses.virtual_similarity import virtual_probabilities, virtual_similarity
from ssl_ext.losses.w_mse import w_mse, whiten

__all__ = [
    "ContrastiveTerms",
    "JaccardTerms",
    "TriMixTerms",
    "all_reduce_mean",
    "all_reduce_sum",
    "barlow_twins_terms",
    "cluster_cross_entropy",
    "cosine_regression",
    "cross_correlation",
    "gather",
    "i_mix_terms",
    "info_nce",
    "info_nce_terms",
    "jaccard_contrastive_loss",
    "jaccard_contrastive_terms",
    "jaccard_similarity",
    "jaccard_weights",
    "mix_hard_negatives",
    "mean_over",
    "mixed_cross_entropy",
    "mixup_bce",
    "mixup_info_nce",
    "mixup_pbce",
    "mochi_terms",
    "nce_terms",
    "nt_xent",
    "nt_xent_terms",
    "pirl_terms",
    "rank",
    "self_consistency_loss",
    "sinkhorn_knopp",
    "standardize",
    "swapped_prediction_loss",
    "trimix_terms",
    "unit_rows",
    "vicreg_terms",
    "virtual_embedding_loss",
    "virtual_embedding_terms",
    "virtual_probabilities",
    "virtual_similarity",
    "virtual_targets",
    "w_mse",
    "weighted_info_nce",
    "whiten",
    "world_size",
]

"""All loss terms of TriMix (Bdair et al., 2022), computed together."""

from typing import NamedTuple

import torch
from torch import Tensor

from .barlow_twins import correlation_of_standardized, terms_of_correlation
from .distributed import all_reduce_mean
from .self_consistency import consistency_of_standardized
from .standardize import check_embeddings, full_precision, standardize
from .virtual_embeddings import terms_of_probabilities
from .virtual_similarity import probabilities_of_similarity, similarity_of_standardized, standardize_virtual


class TriMixTerms(NamedTuple):
    """Unweighted terms of TriMix's loss (Eq. 11), and the means of P's (anti-)diagonal (Eq. 7).

    ``p_lam`` and ``p_complement``, the means of P's diagonal and anti-diagonal, have no gradient.
    If those entries of P are below λ and 1 - λ, the virtual term does not depend on λ.
    """

    invariance: Tensor
    redundancy: Tensor
    virtual: Tensor
    consistency: Tensor
    p_lam: Tensor
    p_complement: Tensor


def trimix_terms(
    z1: Tensor,
    z2: Tensor,
    z_virtual: Tensor,
    lam: float | Tensor,
    *,
    temperature: float = 2.0,
    feature_norm: bool = True,
    eps: float = 1e-5,
) -> TriMixTerms:
    """Compute all terms of TriMix on one set of embeddings, standardising each only once.

    Equal to ``barlow_twins_terms(z1, z2)``, ``virtual_embedding_terms(z1, z_virtual, lam)`` and
    ``self_consistency_loss(z1, z_virtual, lam)``.

    Args:
        z1: (B, D) embeddings of the first view, whose images were mixed.
        z2: (B, D) embeddings of the second view.
        z_virtual: (B, D) embeddings of the mixed images.
        lam: λ in [0, 1], a float or a 0-dim tensor.
        temperature: τ of Eq. 7, > 0.
        feature_norm: standardise ``z_virtual`` over its features too.
        eps: added to the variances.

    Raises:
        ValueError: if the shapes differ, B < 2, or λ or τ is out of range.
    """
    check_embeddings(z1, z2, z_virtual)
    with full_precision(z1):
        z1, z2 = standardize(z1, eps=eps), standardize(z2, eps=eps)
        virtual_row = standardize_virtual(z_virtual, feature_norm, eps)
        invariance, redundancy = terms_of_correlation(correlation_of_standardized(z1, z2))
        probabilities = probabilities_of_similarity(
            similarity_of_standardized(z1, virtual_row, eps), temperature
        )
        consistency = consistency_of_standardized(z1, virtual_row, lam)
        averaged = all_reduce_mean(torch.stack([*terms_of_probabilities(probabilities, lam), consistency]))
        virtual, p_lam, p_complement, consistency = averaged.unbind()
    return TriMixTerms(invariance, redundancy, virtual, consistency, p_lam.detach(), p_complement.detach())

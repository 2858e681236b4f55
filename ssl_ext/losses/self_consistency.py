"""Self-consistency of TriMix (Bdair et al., 2022): mixing images mixes their embeddings."""

import torch.nn.functional as F
from torch import Tensor

from .distributed import all_reduce_mean
from .standardize import check_embeddings, full_precision, standardize
from .virtual_embeddings import check_mixture
from .virtual_similarity import standardize_virtual


def self_consistency_loss(
    z: Tensor,
    z_virtual: Tensor,
    lam: float | Tensor,
    *,
    feature_norm: bool = True,
    eps: float = 1e-5,
) -> Tensor:
    """Mean |z̃ - z_virtual|, z̃ the mixture of standardised embeddings (TriMix, Eq. 9 and 10).

    Args:
        z: (B, D) embeddings of the view that was mixed.
        z_virtual: (B, D) embeddings of the mixed images.
        lam: λ in [0, 1], a float or a 0-dim tensor.
        feature_norm: standardise ``z_virtual`` over its features too.
        eps: added to the variances.

    Returns:
        Scalar, averaged over processes; both arguments receive a gradient.

    Raises:
        ValueError: if the shapes differ, B < 2, or λ is out of range.
    """
    check_embeddings(z, z_virtual)
    with full_precision(z):
        row = standardize_virtual(z_virtual, feature_norm, eps)
        return all_reduce_mean(consistency_of_standardized(standardize(z, eps=eps), row, lam))


def consistency_of_standardized(z: Tensor, z_virtual: Tensor, lam: float | Tensor) -> Tensor:
    """Self-consistency of this process from standardised embeddings (B, D)."""
    check_mixture(len(z), lam)
    return F.l1_loss(lam * z + (1 - lam) * z.flip(0), z_virtual)

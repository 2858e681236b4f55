"""Similarities of embeddings and virtual embeddings, and their softmax (TriMix; Bdair et al., 2022).

The B x B matrices are local to a process; standardisation uses the joined batch.
"""

import torch.nn.functional as F
from torch import Tensor

from .standardize import (
    check_embeddings,
    check_temperature,
    full_precision,
    standardize,
    standardize_features,
)


def virtual_similarity(
    z: Tensor, z_virtual: Tensor, *, feature_norm: bool = True, eps: float = 1e-5
) -> Tensor:
    """Cosine similarities of standardised embeddings and virtual embeddings: M of Eq. 6.

    Args:
        z: (B, D) embeddings of the view that was mixed.
        z_virtual: (B, D) embeddings of the mixed images.
        feature_norm: standardise ``z_virtual`` over its features too.
        eps: added to the variances; lower bound of the norms, > 0.

    Returns:
        (B, B) in [-1, 1]; rows are ``z``, columns ``z_virtual``, both of this process.

    Raises:
        ValueError: if the shapes differ or the joined batch holds a single sample.
    """
    check_embeddings(z, z_virtual)
    with full_precision(z):
        row = standardize_virtual(z_virtual, feature_norm, eps)
        return similarity_of_standardized(standardize(z, eps=eps), row, eps)


def virtual_probabilities(
    z: Tensor,
    z_virtual: Tensor,
    *,
    temperature: float = 2.0,
    feature_norm: bool = True,
    eps: float = 1e-5,
) -> Tensor:
    """Softmax of ``virtual_similarity / temperature`` over the virtual embeddings: Eq. 7.

    Args:
        z: (B, D) embeddings of the view that was mixed.
        z_virtual: (B, D) embeddings of the mixed images.
        temperature: τ, > 0.
        feature_norm: standardise ``z_virtual`` over its features too.
        eps: added to the variances.

    Returns:
        P (B, B), each row sums to 1.

    Raises:
        ValueError: if the shapes differ, the joined batch holds a single sample, or τ <= 0.
    """
    check_embeddings(z, z_virtual)
    with full_precision(z):
        similarity = virtual_similarity(z, z_virtual, feature_norm=feature_norm, eps=eps)
        return probabilities_of_similarity(similarity, temperature)


def standardize_virtual(z_virtual: Tensor, feature_norm: bool, eps: float) -> Tensor:
    """Standardise virtual embeddings (B, D) over the joined batch and, optionally, over their features."""
    z_virtual = standardize(z_virtual, eps=eps)
    return standardize_features(z_virtual, eps=eps) if feature_norm else z_virtual


def similarity_of_standardized(z: Tensor, z_virtual: Tensor, eps: float) -> Tensor:
    """Cosine similarities (B, B) of the rows of two standardised embeddings."""
    # The lower bound `eps` of the norms keeps gradients finite for all-zero rows.
    return F.normalize(z, dim=1, eps=eps) @ F.normalize(z_virtual, dim=1, eps=eps).T


def probabilities_of_similarity(similarity: Tensor, temperature: float) -> Tensor:
    """Softmax of (B, B) similarities over the columns; raise ValueError unless temperature > 0."""
    check_temperature(temperature)
    return F.softmax(similarity / temperature, dim=1)

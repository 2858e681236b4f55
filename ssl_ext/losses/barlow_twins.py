"""Barlow Twins: redundancy reduction (Zbontar et al., 2021)."""

from torch import Tensor

from .distributed import all_reduce_sum, world_size
from .standardize import check_embeddings, full_precision, standardize


def cross_correlation(z1: Tensor, z2: Tensor, *, eps: float = 1e-5) -> Tensor:
    """Cross-correlation matrix C of two views over the batch of all processes.

    Barlow Twins, Eq. 2 (TriMix, Eq. 4).

    Args:
        z1: (N, D) embeddings of the first view.
        z2: (N, D) embeddings of the second view.
        eps: added to the variances.

    Returns:
        (D, D) with entries in [-1, 1]; rows are the dimensions of ``z1``, columns those of ``z2``.

    Raises:
        ValueError: if the shapes differ or the joined batch holds a single sample.
    """
    check_embeddings(z1, z2)
    with full_precision(z1):
        return correlation_of_standardized(standardize(z1, eps=eps), standardize(z2, eps=eps))


def barlow_twins_terms(z1: Tensor, z2: Tensor, *, eps: float = 1e-5) -> tuple[Tensor, Tensor]:
    """The two unweighted terms of the Barlow Twins loss (Eq. 1; TriMix, Eq. 2 and 3).

    Args:
        z1: (N, D) embeddings of the first view.
        z2: (N, D) embeddings of the second view.
        eps: added to the variances.

    Returns:
        invariance, sum over i of (1 - C_ii)^2, and redundancy, sum over i != j of C_ij^2.

    Raises:
        ValueError: if the shapes differ or the joined batch holds a single sample.

    >>> import torch
    >>> z = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> [round(term.item(), 4) for term in barlow_twins_terms(z, z)]
    [0.0, 0.0]
    """
    check_embeddings(z1, z2)
    with full_precision(z1):
        return terms_of_correlation(cross_correlation(z1, z2, eps=eps))


def correlation_of_standardized(z1: Tensor, z2: Tensor) -> Tensor:
    """(D, D) cross-correlation of standardised embeddings (N, D), over all processes."""
    return all_reduce_sum(z1.T @ z2) / (world_size() * z1.shape[0])


def terms_of_correlation(c: Tensor) -> tuple[Tensor, Tensor]:
    """Invariance and redundancy of a (D, D) cross-correlation."""
    diagonal = c.diagonal()
    invariance = (1 - diagonal).square().sum()
    # Subtract the diagonal: indexing with a boolean mask is many times slower.
    redundancy = c.square().sum() - diagonal.square().sum()
    return invariance, redundancy

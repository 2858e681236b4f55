"""Cosine regression: the loss of BYOL (Grill et al., 2020), SimSiam, Cross and TriBYOL."""

import torch.nn.functional as F
from torch import Tensor

from .distributed import all_reduce_mean
from .standardize import at_least_float32, check_embeddings, full_precision


def cosine_regression(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean squared distance of normalised prediction and target: 2 - 2 cos(p, sg z) (BYOL, Eq. 2).

    The target receives no gradient. The cosine with a zero vector is 0.

    Args:
        prediction: (N, D) outputs of the predictor.
        target: (N, D) target embeddings.

    Returns:
        Scalar in [0, 4], averaged over processes.

    Raises:
        ValueError: if the shapes differ or are not (N, D).

    >>> import torch
    >>> p = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    >>> cosine_regression(p, 3 * p), cosine_regression(p, -p)
    (tensor(0.), tensor(4.))
    """
    check_embeddings(prediction, target)
    with full_precision(prediction):
        p, z = at_least_float32(prediction), at_least_float32(target.detach())
        return all_reduce_mean((2 - 2 * F.cosine_similarity(p, z, dim=1)).mean())

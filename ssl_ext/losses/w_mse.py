"""W-MSE, the mean squared error of whitened embeddings (Ermolov et al., 2021)."""

from itertools import combinations

import torch
from torch import Tensor

from .distributed import gather, world_size
from .standardize import at_least_float32, check_embeddings, full_precision, unit_rows


def whiten(z: Tensor, *, eps: float = 0.0) -> Tensor:
    """Whiten embeddings to mean 0 and unbiased covariance I, by Cholesky decomposition.

    Returns NaN if the covariance (1 − eps) · Σ + eps · I is not positive definite; raising an error would
    synchronise the device.

    Args:
        z: (..., K, D), batches of K > D embeddings each.
        eps: in [0, 1), weight of the identity in the covariance.

    Returns:
        (..., K, D), L⁻¹ (z − mean) with L Lᵀ the covariance.

    >>> z = whiten(torch.tensor([[0.0, 0.0], [2.0, 1.0], [0.0, 2.0], [2.0, 3.0]], dtype=torch.float64))
    >>> torch.allclose(z.T @ z / 3, torch.eye(2, dtype=torch.float64))
    True
    """
    centred = z - z.mean(-2, keepdim=True)
    covariance = centred.mT @ centred / (z.shape[-2] - 1)
    identity = torch.eye(z.shape[-1], dtype=z.dtype, device=z.device)
    factor, failed = torch.linalg.cholesky_ex((1 - eps) * covariance + eps * identity)
    white = torch.linalg.solve_triangular(factor, centred.mT, upper=False).mT
    return torch.where((failed == 0)[..., None, None], white, torch.nan)


def w_mse(*views: Tensor, permutations: Tensor, size: int, eps: float = 0.0) -> Tensor:
    """Mean squared distance of the normalised whitened embeddings of all pairs of views.

    The joined batch of all processes is divided into sub-batches of ``size`` images in the order of each
    permutation; every view of a sub-batch is whitened separately. The distance is 2 − 2 cos, in [0, 4].

    Args:
        views: two or more (N, D) embeddings; row n of each belongs to the same image.
        permutations: (R, W · N) int64, R orders of the joined batch, over which the loss is averaged; the
            same on every process.
        size: images per sub-batch, K > D; must divide W · N.
        eps: in [0, 1), weight of the identity in the covariances.

    Returns:
        Scalar, the same on every process.

    Raises:
        ValueError: fewer than two views, different shapes, or an invalid ``size``.
    """
    check_embeddings(*views)
    count, dim = views[0].shape[0] * world_size(), views[0].shape[1]
    if len(views) < 2:
        raise ValueError("w_mse compares two views or more, got 1 (config key views[].repeats)")
    if size <= dim:
        raise ValueError(
            f"the covariance of {size} embeddings of {dim} dimensions is singular: the sub-batch must be "
            "larger than the embedding (config keys model.head.whitening_size, model.neck.out_channels)"
        )
    if count % size:
        raise ValueError(
            f"a joined batch of {count} images cannot be cut into sub-batches of {size} (config keys "
            "train_dataloader.batch_size, model.head.whitening_size)"
        )
    with full_precision(views[0]):
        joined = gather(at_least_float32(torch.stack(views, 1)))
        # Of shape (sub-batches, views, K, D).
        parts = joined[permutations.flatten()].unflatten(0, (-1, size)).transpose(1, 2)
        white = unit_rows(whiten(parts, eps=eps).flatten(0, -2)).view(parts.shape)
        cosines = [(first * second).sum(-1).mean() for first, second in combinations(white.unbind(1), 2)]
        return 2 - 2 * torch.stack(cosines).mean()

"""VICReg: variance, invariance and covariance of embeddings (Bardes, Ponce and LeCun, 2022)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .distributed import all_reduce_mean, all_reduce_sum, world_size
from .standardize import at_least_float32, check_embeddings, full_precision

EPS = 1e-4


def vicreg_terms(z1: Tensor, z2: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The three unweighted terms of VICReg (Eq. 1 to 5), over the batch of all processes.

    Variances and covariances are unbiased (divided by the number of samples − 1).

    Args:
        z1: (N, D) embeddings of the first view, the same N on every process.
        z2: (N, D) embeddings of the second view.

    Returns:
        invariance, the mean squared difference of the two views; variance, half the sum over both views
        of the mean over dimensions of relu(1 - sqrt(var + 1e-4)); covariance, the sum over both views of
        the squared off-diagonal covariances over D.

    Raises:
        ValueError: if the shapes differ or the joined batch holds a single sample.

    >>> z = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> [term.item() for term in vicreg_terms(z, z + 1)]
    [1.0, 0.0, 0.0]
    """
    check_embeddings(z1, z2)
    samples = z1.shape[0] * world_size()
    if samples < 2:
        raise ValueError(
            "the variance of a batch of 1 sample is not defined: the joined batch needs at least 2 "
            "samples (config key train_dataloader.batch_size, with drop_last=True)"
        )
    with full_precision(z1):
        views = at_least_float32(torch.stack([z1, z2]))
        invariance = all_reduce_mean(F.mse_loss(views[0], views[1]))
        centred = views - all_reduce_mean(views.mean(1, keepdim=True))
        covariances = all_reduce_sum(centred.mT @ centred) / (samples - 1)
        variances = covariances.diagonal(dim1=1, dim2=2)
        variance = F.relu(1 - (variances + EPS).sqrt()).mean(1).sum() / 2
        # Subtract the diagonal: indexing with a boolean mask is many times slower.
        off_diagonal = covariances.square().sum() - variances.square().sum()
        return invariance, variance, off_diagonal / z1.shape[1]

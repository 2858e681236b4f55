"""Standardisation over the joined batch, and the precision and shape helpers of all losses."""

from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor

from .distributed import gather, world_size

# Logit of excluded entries. -inf would give NaN gradients in rows where all entries are excluded.
EXCLUDED = -1e30


def standardize(z: Tensor, *, eps: float = 1e-5) -> Tensor:
    """Standardise each dimension over the batch of all processes: (z - mean) / sqrt(var + eps).

    The variance is biased (divided by the number of samples).

    Args:
        z: (N, D), the same N on every process.
        eps: added to the variance, > 0.

    Returns:
        (N, D), float32, or float64 for a float64 input, also under autocast.

    Raises:
        ValueError: if ``z`` is not (N, D), the joined batch holds a single sample, or ``eps`` <= 0.

    >>> standardize(torch.tensor([[1.0], [3.0]])).flatten()
    tensor([-1.0000,  1.0000])
    """
    check_embeddings(z)
    if z.shape[0] * world_size() < 2:
        raise ValueError(
            "a batch of 1 sample cannot be standardised: the joined batch needs at least 2 "
            "samples (config key train_dataloader.batch_size, with drop_last=True)"
        )
    if not eps > 0:
        raise ValueError(f"eps must be > 0, got {eps} (config key model.head.eps)")
    with full_precision(z):
        z = at_least_float32(z)
        if world_size() == 1:  # a fused kernel, three times as fast as the formula below
            return F.batch_norm(z, None, None, training=True, eps=eps)
        means, variances = gather(_moments(z)).unbind(1)
        mean = means.mean(0)
        variance = variances.mean(0) + (means - mean).square().mean(0)
        return (z - mean) * (variance + eps).rsqrt()


def standardize_features(z: Tensor, *, eps: float = 1e-5) -> Tensor:
    """Standardise each row of ``z`` (N, D) over its D features, with the biased variance."""
    return F.layer_norm(z, z.shape[1:], eps=eps)


def unit_rows(z: Tensor) -> Tensor:
    """L2-normalise the rows of ``z`` (N, D); float32, or float64 for a float64 input."""
    with full_precision(z):
        return F.normalize(at_least_float32(z), dim=1)


def at_least_float32(z: Tensor) -> Tensor:
    """Cast ``z`` to float32 unless it is float64."""
    return z if z.dtype == torch.float64 else z.float()


def full_precision(z: Tensor) -> AbstractContextManager[object]:
    """Context manager that disables autocast on the device of ``z``."""
    if torch.amp.is_autocast_available(z.device.type):
        return torch.autocast(z.device.type, enabled=False)
    return nullcontext()


def check_embeddings(*embeddings: Tensor, queue: Tensor | None = None) -> None:
    """Raise ValueError unless all embeddings are (N, D) tensors of one shape, and ``queue`` is (K, D)."""
    shapes = [tuple(z.shape) for z in embeddings]
    if len(set(shapes)) > 1 or len(shapes[0]) != 2:
        found = " and ".join(map(str, shapes))
        raise ValueError(f"embeddings must be (N, D) tensors of one shape, got {found}")
    if queue is not None and (queue.ndim != 2 or queue.shape[1] != shapes[0][1]):
        raise ValueError(f"queue must be (K, {shapes[0][1]}) as the queries, got {tuple(queue.shape)}")


def check_temperature(temperature: float) -> None:
    """Raise ValueError unless τ > 0."""
    if not temperature > 0:
        raise ValueError(f"temperature must be > 0, got {temperature} (config key model.head.temperature)")


def _moments(z: Tensor) -> Tensor:
    """Mean and biased variance of this process's rows as (1, 2, D), gathered in one collective."""
    variance, mean = torch.var_mean(z, dim=0, correction=0)
    return torch.stack([mean, variance])[None]

"""InfoNCE of mixed samples with both sources as positives (AMix, Eq. 4)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .distributed import all_reduce_mean
from .standardize import EXCLUDED, at_least_float32, check_embeddings, check_temperature, full_precision


def mixup_info_nce(
    query: Tensor,
    key_i: Tensor,
    key_j: Tensor,
    queue: Tensor,
    lam: Tensor | float,
    *,
    temperature: float = 0.2,
    excluded: Tensor | None = None,
) -> Tensor:
    """InfoNCE of mixed samples: λ · (−log p_i) + (1 − λ) · (−log p_j) (Eq. 4 of AMix).

    Each term is MoCo's (K + 1)-way softmax: p_i has key i in the numerator, and key i and the queue in the
    denominator.

    Args:
        query: (N, D) unit vectors of the mixed samples.
        key_i: (N, D) unit vectors of the first sources.
        key_j: (N, D) unit vectors of the second sources.
        queue: (K, D) unit vectors, the negatives, the same on every process.
        lam: λ in [0, 1], a scalar or (N,).
        temperature: τ > 0.
        excluded: (N, K) bool, True for negatives to ignore, such as those of a source's class.

    Returns:
        Scalar, averaged over processes.

    Raises:
        ValueError: if shapes do not match or τ <= 0.

    >>> z = torch.eye(3)
    >>> mixup_info_nce(z[:1], z[:1], z[1:2], z[2:], 0.5, temperature=1.0)  # (log(1 + 1/e) + log 2) / 2
    tensor(0.5032)
    """
    check_embeddings(query, key_i, key_j)
    check_temperature(temperature)
    with full_precision(query):
        query, key_i, key_j = (at_least_float32(z) for z in (query, key_i, key_j))
        rest = _queue_total(query, queue, temperature, excluded)
        own, other = ((query * key).sum(1) / temperature for key in (key_i, key_j))
        return all_reduce_mean(two_way_mixture(own - rest, other - rest, lam).mean())


def weighted_info_nce(
    query: Tensor, keys: Tensor, queue: Tensor, weights: Tensor, *, temperature: float = 0.2
) -> Tensor:
    """``mixup_info_nce`` for mixtures of any number of samples: Σ_m weights_m · (−log p_m).

    Args:
        query: (N, D) unit vectors of the mixed samples.
        keys: (M, D) unit vectors of all source samples.
        queue: (K, D) unit vectors, the negatives.
        weights: (N, M), the share of sample m in mixture n; rows sum to 1.
        temperature: τ > 0.

    Returns:
        Scalar, averaged over processes.

    Raises:
        ValueError: if shapes do not match or τ <= 0.
    """
    check_embeddings(query)
    check_temperature(temperature)
    if keys.ndim != 2 or weights.shape != (len(query), len(keys)):
        raise ValueError(
            f"weights must be ({len(query)}, M) for keys (M, D), got {tuple(weights.shape)} and "
            f"{tuple(keys.shape)}"
        )
    with full_precision(query):
        query, keys = at_least_float32(query), at_least_float32(keys)
        rest = _queue_total(query, queue, temperature, None)
        log_p = F.logsigmoid(query @ keys.T / temperature - rest[:, None])
        return all_reduce_mean(-(weights.to(log_p) * log_p).sum(1).mean())


def two_way_mixture(logit_i: Tensor, logit_j: Tensor, lam: Tensor | float) -> Tensor:
    """−λ · log σ(logit_i) − (1 − λ) · log σ(logit_j), (N,), for λ a scalar or (N,)."""
    share = torch.as_tensor(lam, dtype=logit_i.dtype, device=logit_i.device)
    if share.shape not in ((), logit_i.shape):
        raise ValueError(f"lam must be a scalar or ({len(logit_i)},), got shape {tuple(share.shape)}")
    return -(share * F.logsigmoid(logit_i) + (1 - share) * F.logsigmoid(logit_j))


def _queue_total(query: Tensor, queue: Tensor, temperature: float, excluded: Tensor | None) -> Tensor:
    """Logarithm of the sum of exp(similarity / τ) over the queue, (N,)."""
    check_embeddings(query, queue=queue)
    similarity = query @ at_least_float32(queue).T
    if excluded is not None:
        if excluded.shape != similarity.shape:
            raise ValueError(f"excluded must be {tuple(similarity.shape)}, got {tuple(excluded.shape)}")
        similarity = similarity.masked_fill(excluded, EXCLUDED)
    return (similarity / temperature).logsumexp(1)

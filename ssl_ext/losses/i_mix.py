"""i-Mix on MoCo (Lee et al., 2021)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .contrastive import ContrastiveTerms
from .distributed import all_reduce_mean, gather, rank
from .standardize import at_least_float32, check_embeddings, check_temperature, full_precision


def i_mix_terms(
    query: Tensor,
    keys: Tensor,
    queue: Tensor,
    permutation: Tensor,
    lam: Tensor,
    *,
    temperature: float = 0.2,
) -> ContrastiveTerms:
    """Cross-entropy with mixed virtual labels, where each image is its own class (i-Mix, MoCo variant).

    The classes are the keys of the batch of all processes and the queue; the label of mixture n is λ on its
    own key and 1 − λ on its partner's.

    Args:
        query: (N, D) unit vectors of the mixed samples.
        keys: (N, D) unit vectors of the unmixed samples.
        queue: (K, D) unit vectors, the same on every process.
        permutation: (N,) int64, the partner of each sample.
        lam: λ in [0, 1], a scalar or (N,).
        temperature: τ > 0.

    Returns:
        The loss, and ``positive_top1``: the share of mixtures most similar to the key of larger weight.
        Both are averaged over processes.

    Raises:
        ValueError: if shapes do not match or τ <= 0.
    """
    check_embeddings(query, keys, queue=queue)
    check_temperature(temperature)
    with full_precision(query):
        query, keys, queue = (at_least_float32(z) for z in (query, keys, queue))
        logits = query @ torch.cat([gather(keys), queue]).T / temperature
        own = torch.arange(len(query), device=query.device)
        offset, share = rank() * len(query), lam.to(logits.dtype).expand(len(query))
        own_loss, other_loss = (
            F.cross_entropy(logits, offset + column, reduction="none") for column in (own, permutation)
        )
        loss = (share * own_loss + (1 - share) * other_loss).mean()
        with torch.no_grad():
            larger = offset + torch.where(share >= 0.5, own, permutation)
            top1 = (logits.argmax(1) == larger).to(loss.dtype).mean()
        loss, top1 = all_reduce_mean(torch.stack([loss, top1])).unbind()
        return ContrastiveTerms(loss, top1.detach())

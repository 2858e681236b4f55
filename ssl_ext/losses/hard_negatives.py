"""MoCHi: synthetic hard negatives mixed from the hardest ones (Kalantidis et al., 2020)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .contrastive import ContrastiveTerms, contrast, queue_similarities
from .standardize import check_embeddings, full_precision, unit_rows


def mochi_terms(
    query: Tensor,
    key: Tensor,
    queue: Tensor,
    *,
    num_hard: int = 1024,
    num_mixed: int = 1024,
    num_with_query: int = 128,
    temperature: float = 0.2,
    generator: torch.Generator | None = None,
) -> ContrastiveTerms:
    """InfoNCE with K + s + s' negatives per query: the queue and :func:`mix_hard_negatives`.

    Args:
        query: (N, D) unit vectors.
        key: (N, D) unit vectors, the positives.
        queue: (K, D) unit vectors, the same on every process.
        num_hard: N of the paper, number of hardest negatives to mix, >= 1; clipped to K.
        num_mixed: s, number of mixtures of two hard negatives, >= 0.
        num_with_query: s', number of mixtures of a hard negative and the query, >= 0.
        temperature: τ > 0.
        generator: Random generator of pairs and mixing coefficients.

    Returns:
        The loss and the share of queries whose key is more similar than every negative, averaged over
        processes.

    Raises:
        ValueError: if shapes do not match or a setting is out of range.
    """
    check_embeddings(query, key)
    with full_precision(query):
        similarity, positive = queue_similarities(query, key, queue)
        synthetic = mix_hard_negatives(
            query,
            queue,
            num_hard=num_hard,
            num_mixed=num_mixed,
            num_with_query=num_with_query,
            generator=generator,
        )
        harder = torch.einsum("nd,nsd->ns", query.to(synthetic), synthetic)
        return contrast(torch.cat([similarity, harder], dim=1), positive, temperature)


@torch.no_grad()
def mix_hard_negatives(
    query: Tensor,
    queue: Tensor,
    *,
    num_hard: int,
    num_mixed: int,
    num_with_query: int,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Mix pairs of hard negatives, and hard negatives with the query (MoCHi, Eq. 3 and 4).

    α · n_k + (1 − α) · n_l with α ~ U(0, 1), and β · q + (1 − β) · n_k with β ~ U(0, 0.5), normalised; the
    n are drawn from the ``num_hard`` negatives most similar to q.

    Args:
        query: (N, D) unit vectors.
        queue: (K, D) unit vectors.
        num_hard: Number of hardest negatives to mix, >= 1; clipped to K.
        num_mixed: s >= 0.
        num_with_query: s' >= 0.
        generator: Random generator.

    Returns:
        (N, s + s', D) without gradient.

    Raises:
        ValueError: if a setting is out of range.
    """
    for name, value, smallest in (
        ("num_hard", num_hard, 1),
        ("num_mixed", num_mixed, 0),
        ("num_with_query", num_with_query, 0),
    ):
        if value < smallest:
            raise ValueError(
                f"{name} must be at least {smallest}, got {value} (config key model.head.{name})"
            )
    query, queue = unit_rows(query), unit_rows(queue)
    n, device = len(query), query.device if generator is None else generator.device
    hardest = (query @ queue.T).topk(min(num_hard, len(queue)), dim=1).indices

    def draw(count: int) -> Tensor:
        chosen = torch.randint(hardest.shape[1], (n, count), generator=generator, device=device)
        return queue[hardest.gather(1, chosen.to(query.device))]

    def coefficients(count: int) -> Tensor:
        drawn = torch.rand(n, count, 1, generator=generator, device=device, dtype=query.dtype)
        return drawn.to(query.device)

    mixed = torch.lerp(draw(num_mixed), draw(num_mixed), coefficients(num_mixed))
    own = query[:, None].expand(-1, num_with_query, -1)
    with_query = torch.lerp(draw(num_with_query), own, coefficients(num_with_query) / 2)
    return F.normalize(torch.cat([mixed, with_query], dim=1), dim=2)

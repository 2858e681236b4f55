"""SwAV: swapped prediction of cluster assignments (Caron et al., 2020)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .distributed import all_reduce_mean, gather, world_size
from .standardize import at_least_float32, check_embeddings, check_temperature, full_precision


@torch.no_grad()
def sinkhorn_knopp(scores: Tensor, *, epsilon: float = 0.05, iterations: int = 3) -> Tensor:
    """Soft assignments of samples to equally used prototypes, by Sinkhorn-Knopp (Eq. 3 to 5).

    Each iteration scales exp(scores / epsilon) so that every prototype has the same total over the batch
    of all processes, then so that every sample's row sums to 1. Computed in the log domain, which avoids
    overflow and underflow.

    Args:
        scores: (N, K) cosine similarities with the prototypes, the same N on every process.
        epsilon: weight of the entropy, > 0; smaller values give harder assignments.
        iterations: >= 1; the column totals converge with the number of iterations.

    Returns:
        (N, K) without gradient; each row sums to 1, each column to about N / K over the joined batch.

    Raises:
        ValueError: if ``scores`` is not (N, K), or ``epsilon`` or ``iterations`` is out of range.

    >>> sinkhorn_knopp(torch.tensor([[1.0, 0.9], [1.0, 0.1]]), iterations=50).round()
    tensor([[0., 1.],
            [1., 0.]])
    """
    check_embeddings(scores)
    check_sinkhorn(epsilon, iterations)
    with full_precision(scores):
        log_q = at_least_float32(scores) / epsilon
        log_share = math.log(log_q.shape[0] * world_size() / log_q.shape[1])
        for _ in range(iterations):
            totals = gather(log_q.logsumexp(0, keepdim=True)).logsumexp(0)
            log_q = F.log_softmax(log_q - totals + log_share, dim=1)
        return log_q.exp()


def swapped_prediction_loss(
    scores1: Tensor,
    scores2: Tensor,
    *more_scores: Tensor,
    temperature: float = 0.1,
    epsilon: float = 0.05,
    iterations: int = 3,
) -> Tensor:
    """Mean cross-entropy of each view's softmax with the assignments of the other views (Eq. 1, 2 and 6).

    Assignments are computed for the first two views only; further views (small crops) only predict. The
    loss is the mean over all pairs of an assignment and another view's prediction.

    Args:
        scores1: (N, K) cosine similarities of the first view's embeddings with the prototypes.
        scores2: (N, K) of the second view.
        *more_scores: (N, K) of each further view.
        temperature: τ of the softmax, > 0.
        epsilon: see :func:`sinkhorn_knopp`.
        iterations: see :func:`sinkhorn_knopp`.

    Returns:
        Scalar, averaged over processes; the assignments receive no gradient.

    Raises:
        ValueError: if the shapes differ, or τ, ``epsilon`` or ``iterations`` is out of range.
    """
    views = [scores1, scores2, *more_scores]
    check_embeddings(*views)
    check_temperature(temperature)
    with full_precision(scores1):
        views = [at_least_float32(view) for view in views]
        log_p = [F.log_softmax(view / temperature, dim=1) for view in views]
        assigned = [sinkhorn_knopp(view, epsilon=epsilon, iterations=iterations) for view in views[:2]]
        losses = [
            -(q * p).sum(1).mean() for i, q in enumerate(assigned) for j, p in enumerate(log_p) if i != j
        ]
        return all_reduce_mean(torch.stack(losses).mean())


def check_sinkhorn(epsilon: float, iterations: int) -> None:
    """Raise ValueError unless epsilon > 0 and iterations is an integer >= 1."""
    if not epsilon > 0:
        raise ValueError(f"epsilon must be > 0, got {epsilon} (config key model.head.epsilon)")
    if not isinstance(iterations, int) or iterations < 1:
        raise ValueError(
            f"iterations must be an integer >= 1, got {iterations} (config key "
            "model.head.sinkhorn_iterations)"
        )

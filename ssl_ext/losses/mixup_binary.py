"""Binary cross-entropy between the two sources of a mixed sample, or their classes (AMix, Sec. 3.3)."""

import torch
from torch import Tensor

from .distributed import all_reduce_mean, mean_over
from .mixup_contrastive import two_way_mixture
from .standardize import at_least_float32, check_embeddings, check_temperature, full_precision


def mixup_bce(
    z_mix: Tensor, z_i: Tensor, z_j: Tensor, lam: Tensor | float, *, temperature: float = 0.2
) -> Tensor:
    """Binary cross-entropy between the two sources of each mixed sample (Eq. 6 of AMix).

    The loss is λ · (−log p_i) + (1 − λ) · (−log p_j), p the softmax over the two similarities / τ.
    (The paper prints ratios of similarities without a logarithm; its text calls them cross-entropy.)

    Args:
        z_mix: (N, D) unit vectors of the mixed samples.
        z_i: (N, D) unit vectors of the first sources.
        z_j: (N, D) unit vectors of the second sources.
        lam: λ in [0, 1], a scalar or (N,).
        temperature: τ > 0.

    Returns:
        Scalar, averaged over processes.

    Raises:
        ValueError: if shapes do not match or τ <= 0.

    >>> z = torch.eye(2)
    >>> mixup_bce(z[:1], z[:1], z[1:], 1.0, temperature=1.0)  # log(1 + 1/e)
    tensor(0.3133)
    """
    check_embeddings(z_mix, z_i, z_j)
    check_temperature(temperature)
    with full_precision(z_mix):
        z_mix, z_i, z_j = (at_least_float32(z) for z in (z_mix, z_i, z_j))
        difference = (z_mix * (z_i - z_j)).sum(1) / temperature
        return all_reduce_mean(two_way_mixture(difference, -difference, lam).mean())


def mixup_pbce(logits: Tensor, labels_i: Tensor, labels_j: Tensor, lam: Tensor | float) -> Tensor:
    """Parametric binary cross-entropy: λ · (−log p_i) + (1 − λ) · (−log p_j) over two classes (AMix).

    p is the softmax over the logits of the two sources' classes. Pairs of one class, or without one (label
    −1), are skipped. (The paper prints probabilities without a logarithm; its text calls them cross-entropy.)

    Args:
        logits: (N, K) of the mixed samples.
        labels_i: (N,) int64, classes of the first sources.
        labels_j: (N,) int64, classes of the second sources.
        lam: λ in [0, 1], a scalar or (N,).

    Returns:
        Scalar, the mean over the pairs of different classes of all processes; 0 if there are none.

    Raises:
        ValueError: if shapes do not match.

    >>> mixup_pbce(torch.tensor([[1.0, 0.0, 9.0]]), torch.tensor([0]), torch.tensor([1]), 1.0)
    tensor(0.3133)
    """
    if logits.ndim != 2 or not labels_i.shape == labels_j.shape == logits.shape[:1]:
        raise ValueError(
            f"logits (N, K) and labels (N,) do not fit: {tuple(logits.shape)}, {tuple(labels_i.shape)}, "
            f"{tuple(labels_j.shape)}"
        )
    with full_precision(logits):
        logits = at_least_float32(logits)
        logit_i, logit_j = (
            logits.gather(1, labels.clamp(min=0)[:, None])[:, 0] for labels in (labels_i, labels_j)
        )
        difference = logit_i - logit_j
        loss = two_way_mixture(difference, -difference, lam)
        return mean_over(loss, (labels_i != labels_j) & (torch.minimum(labels_i, labels_j) >= 0))

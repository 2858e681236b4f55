"""Virtual embeddings loss of TriMix (Bdair et al., 2022): identify the two images in each mixture.

Each process mixes its batch with the reversed batch, with weights λ and 1 - λ, λ the same on every process.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .distributed import all_reduce_mean
from .standardize import check_embeddings, full_precision
from .virtual_similarity import virtual_probabilities


def virtual_targets(
    batch_size: int,
    lam: float | Tensor,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Target matrix GT = λ I + (1 - λ) J, J the anti-diagonal: each sample's share in each mixture (Eq. 8).

    The middle sample of an odd batch is mixed with itself: its row has 1 on the diagonal.

    Args:
        batch_size: B >= 2.
        lam: λ in [0, 1], a float or a 0-dim tensor (whose range is not checked, which would synchronise).
        device: device of the result.
        dtype: dtype of the result.

    Returns:
        (B, B), each row sums to 1.

    Raises:
        ValueError: if B < 2 or λ is out of range.

    >>> virtual_targets(2, 0.25)
    tensor([[0.2500, 0.7500],
            [0.7500, 0.2500]])
    """
    check_mixture(batch_size, lam)
    identity = torch.eye(batch_size, device=device, dtype=dtype)
    return lam * identity + (1 - lam) * identity.flip(0)


def virtual_embedding_terms(
    z: Tensor,
    z_virtual: Tensor,
    lam: float | Tensor,
    *,
    temperature: float = 2.0,
    feature_norm: bool = True,
    eps: float = 1e-5,
) -> tuple[Tensor, Tensor, Tensor]:
    """Virtual embedding loss, and the two mean probabilities whose targets are λ and 1 - λ.

    Args:
        z: (B, D) embeddings of the view that was mixed.
        z_virtual: (B, D) embeddings of the mixed images.
        lam: λ in [0, 1], a float or a 0-dim tensor.
        temperature: τ of Eq. 7, > 0.
        feature_norm: standardise ``z_virtual`` over its features too.
        eps: added to the variances.

    Returns:
        The loss (Eq. 8) and, without gradient, the means of P's diagonal and anti-diagonal; all three
        averaged over the processes.

    Raises:
        ValueError: if the shapes differ, B < 2, or λ or τ is out of range.
    """
    check_embeddings(z, z_virtual)
    with full_precision(z):
        probabilities = virtual_probabilities(
            z, z_virtual, temperature=temperature, feature_norm=feature_norm, eps=eps
        )
        averaged = all_reduce_mean(torch.stack(terms_of_probabilities(probabilities, lam)))
        loss, p_lam, p_complement = averaged.unbind()
    return loss, p_lam.detach(), p_complement.detach()


def virtual_embedding_loss(
    z: Tensor,
    z_virtual: Tensor,
    lam: float | Tensor,
    *,
    temperature: float = 2.0,
    feature_norm: bool = True,
    eps: float = 1e-5,
) -> Tensor:
    """Mean |P - GT| over the B x B pairs (Eq. 8), averaged over processes.

    Arguments and errors as in ``virtual_embedding_terms``.
    """
    return virtual_embedding_terms(
        z, z_virtual, lam, temperature=temperature, feature_norm=feature_norm, eps=eps
    )[0]


def terms_of_probabilities(probabilities: Tensor, lam: float | Tensor) -> list[Tensor]:
    """Loss of this process, and the means of P's diagonal and anti-diagonal without gradient."""
    targets = virtual_targets(len(probabilities), lam, device=probabilities.device, dtype=probabilities.dtype)
    p_lam = probabilities.diagonal().mean()
    p_complement = probabilities.flip(1).diagonal().mean()
    return [F.l1_loss(probabilities, targets), p_lam.detach(), p_complement.detach()]


def check_mixture(batch_size: int, lam: float | Tensor) -> None:
    """Raise ValueError if ``batch_size`` < 2, or ``lam`` is a float outside [0, 1] or not a 0-dim tensor."""
    if batch_size < 2:
        raise ValueError(
            f"a batch of {batch_size} cannot be mixed with its reversed copy: each process needs "
            "at least 2 samples (config key train_dataloader.batch_size, with drop_last=True)"
        )
    if isinstance(lam, Tensor):
        if lam.ndim != 0:
            raise ValueError(f"lam must be a float or a 0-dim tensor, got shape {tuple(lam.shape)}")
    elif not 0 <= lam <= 1:
        raise ValueError(f"lam must lie in [0, 1], got {lam}")

"""Different mixing policies between and within classes (AMix, Sec. 3.1)."""

from __future__ import annotations

import torch
from torch import Tensor

from .cutmix import cutmix
from .mixed import uniform
from .mixup import mixup

PARTS = {"cutmix": cutmix, "mixup": mixup}


def inter_intra(
    images: Tensor,
    lam: Tensor | float,
    permutation: Tensor,
    *,
    labels: Tensor,
    intra_lam: Tensor | float,
    generator: torch.Generator | None = None,
    inter: str = "cutmix",
    intra: str = "mixup",
) -> tuple[Tensor, Tensor]:
    """Mix pairs of different classes by ``inter`` and pairs of one class by ``intra``.

    Args:
        images: (N, C, H, W), floating point.
        lam: λ in [0, 1] for pairs of different classes, a scalar or (N,), the share of sample i.
        permutation: (N,) int64, the partner j of each sample i.
        labels: (N,) classes or pseudo-labels.
        intra_lam: λ in [0, 1] for pairs of one class, a scalar or (N,).
        generator: Random generator of CutMix's boxes.
        inter: Policy between classes, ``'cutmix'`` or ``'mixup'``.
        intra: Policy within a class, ``'cutmix'`` or ``'mixup'``.

    Returns:
        Mixtures (N, C, H, W), and the share (N,) of sample i.

    Raises:
        ValueError: λ out of range, shapes that do not match, or an unknown policy.
    """
    if labels.shape != images.shape[:1]:
        raise ValueError(f"labels must be ({len(images)},), got {tuple(labels.shape)}")
    for key, name in (("inter", inter), ("intra", intra)):
        if name not in PARTS:
            raise ValueError(
                f"{key} is {name!r}; it must be one of {', '.join(PARTS)} (config key model.policy.{key})"
            )
    across, lam = PARTS[inter](images, lam, permutation, generator=generator)
    within, intra_lam = PARTS[intra](images, intra_lam, permutation, generator=generator)
    same = labels == labels[permutation]
    return torch.where(same.view(-1, 1, 1, 1), within, across), torch.where(same, intra_lam, lam)


def pair_within_classes(
    permutation: Tensor, labels: Tensor, *, share: float, generator: torch.Generator | None = None
) -> Tensor:
    """Replace the partners of a random share of the samples by partners of the same class, (N,).

    With many classes, a random permutation rarely pairs samples of one class. A sample may be its own
    partner, and is if it is the only one of its class in the batch.

    Args:
        permutation: (N,) int64.
        labels: (N,) classes or pseudo-labels.
        share: Probability in [0, 1] of a same-class partner.
        generator: Random generator.
    """
    drawn = uniform((3, len(labels)), generator, labels.device)
    # Two random orders, each stably sorted by class: equal positions hold samples of one class.
    by_class = [order[labels[order].argsort(dim=0, stable=True)] for order in drawn[:2].argsort(1)]
    own = torch.empty_like(permutation)
    own[by_class[0]] = by_class[1]
    return torch.where(drawn[2] < share, own, permutation)

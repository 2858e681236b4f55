"""One policy between classes, another within a class: CutMix and MixUp (AMix, Sec. 3.1)."""

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
    """CutMix with λ for pairs of two classes, MixUp with ``intra_lam`` for pairs of one.

    Args:
        images: (N, C, H, W), floating point.
        lam: λ in [0, 1] of pairs of two classes, a scalar or (N,), the share of sample i.
        permutation: (N,) int64, j of each i.
        labels: (N,) classes or pseudo classes.
        intra_lam: λ in [0, 1] of pairs of one class, a scalar or (N,).
        generator: Source of CutMix's boxes.
        inter: Policy between classes, ``'cutmix'`` or ``'mixup'``.
        intra: Policy within a class, ``'cutmix'`` or ``'mixup'``.

    Returns:
        Mixtures (N, C, H, W), and the share (N,) of sample i.

    Raises:
        ValueError: λ out of range, shapes that do not fit, or another policy.
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
    """The partners (N,) of ``permutation``, but of a random share of the samples one of their own class.

    Pairs of a random permutation have one class too rarely where classes are many. A sample that is the
    only one of its class in the batch may be its own partner.

    Args:
        permutation: (N,) int64.
        labels: (N,) classes or pseudo classes.
        share: Probability in [0, 1] of a partner of the own class.
        generator: Source of random numbers.
    """
    drawn = uniform((3, len(labels)), generator, labels.device)
    # Two random orders, each sorted by class: what stands at the same place is of one class.
    by_class = [order[labels[order].argsort(dim=0, stable=True)] for order in drawn[:2].argsort(1)]
    own = torch.empty_like(permutation)
    own[by_class[0]] = by_class[1]
    return torch.where(drawn[2] < share, own, permutation)

"""SaliencyMix (Uddin et al., 2021)."""

from __future__ import annotations

import torch
from torch import Tensor

from .cutmix import outside_box
from .mixed import blend, check_pairs, shares
from .saliency import fine_grained_saliency


def saliencymix(
    images: Tensor, lam: Tensor | float, permutation: Tensor, *, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """CutMix with the box centred at the most salient pixel of sample j, pasted at the same position.

    Each pair uses its own sample j (the authors' code uses the first sample's peak for the whole batch).
    Saliency is ``fine_grained_saliency``.

    Args:
        images: (N, C, H, W), floating point.
        lam: λ in [0, 1], a scalar or (N,), the share of sample i before the box is clipped.
        permutation: (N,) int64, the partner j of each sample i.
        generator: Not used.

    Returns:
        Mixtures (N, C, H, W), and the final pixel share (N,) of sample i.

    Raises:
        ValueError: λ out of range, or shapes that do not match.
    """
    check_pairs(images, permutation)
    lam = shares(lam, len(images), images.device)
    height, width = images.shape[2:]
    peak = fine_grained_saliency(images).flatten(1).argmax(1)[permutation]
    centres = torch.stack([peak // width, peak % width], 1)
    return blend(images, images[permutation], outside_box(centres, lam, height, width))

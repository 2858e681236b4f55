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
    """CutMix with the box around the most salient pixel of sample j, pasted where it was.

    Each pair has the peak of its own sample j (the authors' code takes that of the first one for the
    whole batch). Saliency is ``fine_grained_saliency``.

    Args:
        images: (N, C, H, W), floating point.
        lam: λ in [0, 1], a scalar or (N,), the share of sample i before the box is cut at the border.
        permutation: (N,) int64, j of each i.
        generator: Not used: nothing is drawn.

    Returns:
        Mixtures (N, C, H, W), and the share (N,) of the pixels that sample i has in the end.

    Raises:
        ValueError: λ out of range, or shapes that do not fit.
    """
    check_pairs(images, permutation)
    lam = shares(lam, len(images), images.device)
    height, width = images.shape[2:]
    peak = fine_grained_saliency(images).flatten(1).argmax(1)[permutation]
    centres = torch.stack([peak // width, peak % width], 1)
    return blend(images, images[permutation], outside_box(centres, lam, height, width))

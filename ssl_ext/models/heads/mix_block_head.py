"""What trains the block that mixes images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ssl_ext.losses import (
    gather,
    mixed_cross_entropy,
    mixup_bce,
    mixup_info_nce,
    mixup_pbce,
    rank,
    unit_rows,
)
from ssl_ext.mixups import mask_loss
from ssl_ext.mixups.mixed import Mixed
from ssl_ext.registry import MODELS

LOSSES = ("ce", "pbce", "bce", "infonce")


@MODELS.register_module()
class MixBlockHead(nn.Module):
    """Classification losses of images mixed by a block, and its mask loss (AMix, Sec. 3.2 and 3.3, Table 1).

    Args:
        losses: Of ``'ce'`` (mixture cross-entropy), ``'pbce'`` (over the two classes of a pair only),
            ``'bce'`` (over the similarities to the two sources) and ``'infonce'`` (to the whole batch).
        mask_labels: Whether ``'infonce'`` leaves out negatives that share a class with one of the sources.
        temperature: τ of ``'bce'`` and ``'infonce'``.
        mask_weight: β of the mask loss.
        margin: How far the mean of a mask may be from λ.
        variance_weight: Weight of the masks' variance in the mask loss.

    Raises:
        ValueError: An unknown loss, none or one twice; a temperature that is not above 0; a negative weight.
    """

    def __init__(
        self,
        *,
        losses: Sequence[str] = ("ce",),
        mask_labels: bool = False,
        temperature: float = 0.2,
        mask_weight: float = 0.1,
        margin: float = 0.1,
        variance_weight: float = 1.0,
    ) -> None:
        super().__init__()
        if not losses or set(losses) - set(LOSSES) or len(set(losses)) < len(losses):
            raise ValueError(
                f"model.block_head.losses is {list(losses)}; allowed are {', '.join(LOSSES)}, each once."
            )
        if temperature <= 0:
            raise ValueError(f"model.block_head.temperature is {temperature}; it must be above 0.")
        for key, value in dict(
            mask_weight=mask_weight, margin=margin, variance_weight=variance_weight
        ).items():
            if value < 0:
                raise ValueError(f"model.block_head.{key} is {value}; it must be 0 or more.")
        self.losses, self.mask_labels, self.temperature = tuple(losses), mask_labels, temperature
        self.mask_weight, self.margin, self.variance_weight = mask_weight, margin, variance_weight

    def loss(
        self,
        logits: Tensor | None,
        z_mix: Tensor,
        keys: Tensor,
        labels: Tensor,
        mixed: Mixed,
        mask: Tensor,
    ) -> dict[str, Tensor]:
        """Named, weighted terms; ``mask_deviation`` and ``mask_std`` tell what the masks are like.

        Args:
            logits: (N, K) of the mixed images; needed by ``'ce'`` and ``'pbce'``.
            z_mix: (N, D) features of the mixed images.
            keys: (N, D) features of the images before they were mixed.
            labels: (N,) int64, their classes.
            mixed: How they were mixed.
            mask: (N, 1, H, W) that did it.
        """
        lam, permutation = mixed.lam, mixed.permutation
        terms = {}
        if "ce" in self.losses:
            terms["loss_block_ce"] = mixed_cross_entropy(logits, labels, mixed)
        if "pbce" in self.losses:
            terms["loss_block_pbce"] = mixup_pbce(logits, labels, labels[permutation], lam)
        z_mix, keys = unit_rows(z_mix), unit_rows(keys.detach())
        pairs = (z_mix, keys, keys[permutation])
        if "bce" in self.losses:
            terms["loss_block_bce"] = mixup_bce(*pairs, lam, temperature=self.temperature)
        if "infonce" in self.losses:
            excluded = no_negatives(permutation, labels if self.mask_labels else None)
            terms["loss_block_infonce"] = mixup_info_nce(
                *pairs, gather(keys), lam, temperature=self.temperature, excluded=excluded
            )
        if self.mask_weight:
            loss = mask_loss(mask, mixed.lam, margin=self.margin, variance_weight=self.variance_weight)
            terms["loss_mask"] = self.mask_weight * loss
        detached = mask.detach().flatten(1)
        terms["mask_deviation"] = (detached.mean(1) - mixed.lam).abs().mean()
        terms["mask_std"] = detached.std(1).mean()
        return terms


def no_negatives(permutation: Tensor, labels: Tensor | None = None) -> Tensor:
    """Which images of the batch of all processes, (N, W · N), are no negatives of a mixed image.

    Its two sources, and with labels (N,) whatever is of the class of one of them.

    >>> no_negatives(torch.tensor([1, 0, 2]), torch.tensor([0, 1, 1])).int()
    tensor([[1, 1, 1],
            [1, 1, 1],
            [0, 1, 1]], dtype=torch.int32)
    """
    count, device = len(permutation), permutation.device
    everyone = gather(torch.arange(count, device=device) + rank() * count)
    sources = torch.stack([torch.arange(count, device=device), permutation], dim=1) + rank() * count
    excluded = (everyone == sources[:, :, None]).any(1)
    if labels is not None:
        classes = torch.stack([labels, labels[permutation]], dim=1)
        excluded |= (gather(labels) == classes[:, :, None]).any(1)
    return excluded

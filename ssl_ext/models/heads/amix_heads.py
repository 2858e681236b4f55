"""Heads of AMix: losses of the block that mixes images (Sec. 3.2 and 3.3, Table 1)."""

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
from ssl_ext.mixups import Mixed, mask_loss
from ssl_ext.registry import MODELS
from ssl_ext.values import check_not_negative, check_positive

from .mix_moco_head import MixMoCoHead

# Mixture cross-entropy over all classes, over the two classes of a pair, over the similarities to both
# sources, and over the similarities to all negatives.
BLOCK_LOSSES = ("ce", "pbce", "bce", "infonce")
NEED_LABELS = ("ce", "pbce")
# Minimum |λ − ½| of mixtures that count towards ``larger_source_top1``.
CLEAR = 0.2


class BlockLosses:
    """Mixin with the losses of a block's mixtures and masks, for heads with a ``temperature``."""

    temperature: float

    def set_up_mask(self, *, mask_weight: float, margin: float, variance_weight: float) -> None:
        """Store the settings of the mask loss.

        Args:
            mask_weight: β of the mask loss.
            margin: ε, the largest |mean of a mask − λ| without a loss.
            variance_weight: Weight of the mask's variance within the mask loss.
        """
        self.mask_weight, self.margin, self.variance_weight = mask_weight, margin, variance_weight

    def block_terms(
        self,
        names: Sequence[str],
        z: Tensor,
        keys: Tensor,
        negatives: Tensor,
        mixed: Mixed,
        *,
        excluded: Tensor | None = None,
        logits: Tensor | None = None,
        labels: Tensor | None = None,
        known: Tensor | None = None,
        z_mixup: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Losses of mixed images, by names ``loss_block_<name>``, and one or two statistics.

        ``larger_source_top1`` is the fraction of mixtures with |λ − ½| > 0.2 that are closer to their larger
        source; ``bce_minus_mixup``, with ``z_mixup``, is the loss ``'bce'`` minus that of MixUp: below 0 the
        sources are easier to recognise than in MixUp's mixtures.

        Args:
            names: A subset of ``BLOCK_LOSSES``.
            z: (N, D) unit vectors of the mixed images.
            keys: (N, D) unit vectors of the plain images.
            negatives: (K, D) unit vectors, for ``'infonce'``.
            mixed: Permutation and λ of the mixtures.
            excluded: (N, K) bool, True for entries that are not used as negatives.
            logits: (N, classes) of the mixed images, for ``'ce'`` and ``'pbce'``.
            labels: (N,), classes of the plain images.
            known: (N,) bool, False for plain images without a class; None if all have one.
            z_mixup: (N, D) unit vectors of MixUp's mixtures with the same λ and permutation.
        """
        partners, settings = keys[mixed.permutation], dict(temperature=self.temperature)
        found = {}
        for name in names:
            if name == "infonce":
                loss = mixup_info_nce(z, keys, partners, negatives, mixed.lam, excluded=excluded, **settings)
            elif name == "bce":
                loss = mixup_bce(z, keys, partners, mixed.lam, **settings)
            elif name == "ce":
                loss = mixed_cross_entropy(logits, labels, mixed, known=known)
            else:
                loss = mixup_pbce(logits, labels, labels[mixed.permutation], mixed.lam)
            found[f"loss_block_{name}"] = loss
        with torch.no_grad():
            nearer = (z * (keys - partners)).sum(1) > 0
            clear = (mixed.lam - 0.5).abs() > CLEAR
            hits = clear & (nearer == (mixed.lam > 0.5))
            found["larger_source_top1"] = hits.sum() / clear.sum().clamp(min=1)
            if z_mixup is not None:
                learned, reference = (
                    mixup_bce(x, keys, partners, mixed.lam, **settings) for x in (z, z_mixup)
                )
                found["bce_minus_mixup"] = learned - reference
        return found

    def mask_terms(self, mask: Tensor, lam: Tensor, scale: Tensor | float = 1.0) -> dict[str, Tensor]:
        """Mask loss of masks (N, 1, H, W), its weight times ``scale``, and two logged statistics.

        ``mask_deviation`` is the mean over the batch of |mean of a mask − λ|, ``mask_std`` the mean of the
        unbiased standard deviation within a mask.
        """
        figures = {}
        if self.mask_weight:
            loss = mask_loss(mask, lam, margin=self.margin, variance_weight=self.variance_weight)
            figures["loss_mask"] = self.mask_weight * scale * loss
        pixels = mask.detach().flatten(1)
        figures["mask_deviation"] = (pixels.mean(1) - lam).abs().mean()
        figures["mask_std"] = pixels.std(1).mean()
        return figures


@MODELS.register_module()
class AMixHead(BlockLosses, MixMoCoHead):
    """Terms of :class:`MixMoCoHead` and of the block; negatives come from the queue.

    Args:
        mask_weight: β of the mask loss.
        mask_margin: ε, the largest |mean of a mask − λ| without a loss.
        variance_weight: Weight of the mask's variance within the mask loss.
        **kwargs: ``temperature``, ``plain_weight``, ``mixed_weight``.

    Raises:
        ValueError: A setting out of range.
    """

    def __init__(
        self,
        mask_weight: float = 0.1,
        mask_margin: float = 0.1,
        variance_weight: float = 1.0,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        settings = dict(mask_weight=mask_weight, variance_weight=variance_weight)
        check_not_negative("model.head", mask_margin=mask_margin, **settings)
        self.set_up_mask(margin=mask_margin, **settings)


@MODELS.register_module()
class MixBlockHead(BlockLosses, nn.Module):
    """Terms of the block for a classifier; negatives are the other images of the batch.

    Args:
        losses: A subset of ``'ce'``, ``'pbce'``, ``'bce'`` and ``'infonce'``.
        mask_labels: Exclude negatives of ``'infonce'`` that share a class with one of the sources.
        temperature: τ of ``'bce'`` and ``'infonce'``.
        mask_weight: β of the mask loss.
        margin: ε, the largest |mean of a mask − λ| without a loss.
        variance_weight: Weight of the mask's variance within the mask loss.

    Raises:
        ValueError: An unknown or repeated loss, or none; a temperature not above 0; a negative weight.
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
        check_block_losses("model.block_head.losses", losses)
        check_positive("model.block_head", temperature=temperature)
        settings = dict(mask_weight=mask_weight, margin=margin, variance_weight=variance_weight)
        check_not_negative("model.block_head", **settings)
        self.set_up_mask(**settings)
        self.losses = tuple(name for name in BLOCK_LOSSES if name in losses)
        self.mask_labels, self.temperature = mask_labels, temperature

    def loss(
        self,
        logits: Tensor | None,
        z_mix: Tensor,
        keys: Tensor,
        labels: Tensor,
        mixed: Mixed,
        mask: Tensor,
        *,
        z_mixup: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Weighted terms and logged statistics by name.

        Args:
            logits: (N, K) of the mixed images; needed by ``'ce'`` and ``'pbce'``.
            z_mix: (N, D) features of the mixed images.
            keys: (N, D) features of the plain images.
            labels: (N,) int64, classes of the plain images.
            mixed: Permutation and λ of the mixtures.
            mask: (N, 1, H, W), masks of the mixtures, in [0, 1].
            z_mixup: (N, D) features of MixUp's mixtures with the same λ and permutation.
        """
        z_mix, keys, excluded = unit_rows(z_mix), unit_rows(keys.detach()), None
        negatives = keys
        if "infonce" in self.losses:
            excluded = no_negatives(mixed.permutation, labels if self.mask_labels else None)
            negatives = gather(keys)
        terms = self.block_terms(
            self.losses,
            z_mix,
            keys,
            negatives,
            mixed,
            excluded=excluded,
            logits=logits,
            labels=labels,
            z_mixup=None if z_mixup is None else unit_rows(z_mixup),
        )
        return terms | self.mask_terms(mask, mixed.lam)


def no_negatives(permutation: Tensor, labels: Tensor | None = None) -> Tensor:
    """Mask (N, W · N) of the images of all W processes that are not negatives of each mixed image.

    These are its two sources and, with labels (N,), all images that share a class with one of them.

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


def check_block_losses(key: str, names: Sequence[str]) -> None:
    """Raise ValueError unless ``names`` is a subset of ``BLOCK_LOSSES`` without repetitions."""
    if not names or set(names) - set(BLOCK_LOSSES) or len(set(names)) < len(names):
        raise ValueError(f"{key} is {list(names)}; allowed are {', '.join(BLOCK_LOSSES)}, each once.")

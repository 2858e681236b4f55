"""Heads of MoCo with mixed images, made by a policy or by a block that learns."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ssl_ext.losses import (
    mixed_cross_entropy,
    mixup_bce,
    mixup_info_nce,
    mixup_pbce,
    weighted_info_nce,
)
from ssl_ext.mixups import Mixed, mask_loss
from ssl_ext.registry import MODELS

from .contrastive_heads import MoCoHead

BLOCK_LOSSES = ("bce", "ce", "infonce", "pbce")
NEED_LABELS = ("ce", "pbce")


@MODELS.register_module()
class MixMoCoHead(MoCoHead):
    """plain_weight · InfoNCE (Eq. 2 of AMix) + mixed_weight · mixture InfoNCE (Eq. 4).

    Args:
        temperature: τ of both.
        plain_weight: 0 leaves the term out.
        mixed_weight: 0 leaves the term out.

    Raises:
        ValueError: A temperature that is not positive, a negative weight, or two zeros.
    """

    def __init__(
        self, temperature: float = 0.2, plain_weight: float = 1.0, mixed_weight: float = 1.0
    ) -> None:
        super().__init__(temperature)
        check_not_negative(plain_weight=plain_weight, mixed_weight=mixed_weight)
        if not plain_weight and not mixed_weight:
            raise ValueError("model.head.plain_weight and mixed_weight are both 0: no loss is left.")
        self.plain_weight, self.mixed_weight = plain_weight, mixed_weight

    def loss(self, query: Tensor, key: Tensor, queue: Tensor) -> dict[str, Tensor]:
        """Weighted InfoNCE and logged figure for unit vectors: query and key (N, D), queue (K, D)."""
        losses = super().loss(query, key, queue)
        return dict(losses, loss_contrastive=self.plain_weight * losses["loss_contrastive"])

    def mixed(self, query: Tensor, keys: Tensor, queue: Tensor, mixed: Mixed) -> dict[str, Tensor]:
        """Weighted InfoNCE of mixed images.

        Args:
            query: (N, D) unit vectors of the mixed images.
            keys: (N, D) unit vectors of the images before they were mixed.
            queue: (K, D) unit vectors.
            mixed: How they were mixed.
        """
        if mixed.weights is not None:
            loss = weighted_info_nce(query, keys, queue, mixed.weights, temperature=self.temperature)
        else:
            loss = mixup_info_nce(
                query, keys, keys[mixed.permutation], queue, mixed.lam, temperature=self.temperature
            )
        return dict(loss_mixed=self.mixed_weight * loss)


@MODELS.register_module()
class AMixHead(MixMoCoHead):
    """The terms of :class:`MixMoCoHead`, and those that train the Mix Block (AMix, Sec. 3.2 and 3.3).

    Args:
        mask_weight: β of the mask loss.
        mask_margin: ε, how far the mean of a mask may be from λ without a loss.
        variance_weight: Weight of the variance of a mask, within the mask loss.
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
        check_not_negative(mask_weight=mask_weight, mask_margin=mask_margin, variance_weight=variance_weight)
        self.mask_weight = mask_weight
        self.mask_settings = dict(margin=mask_margin, variance_weight=variance_weight)

    def block(
        self,
        names: Sequence[str],
        z: Tensor,
        keys: Tensor,
        queue: Tensor,
        mixed: Mixed,
        *,
        excluded: Tensor | None = None,
        logits: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """The chosen losses of mixed images as the frozen key network sees them, ``loss_block_<name>``.

        Args:
            names: Some of ``BLOCK_LOSSES``.
            z: (N, D) unit vectors of the mixed images.
            keys: (N, D) unit vectors of the images before they were mixed.
            queue: (K, D) unit vectors.
            mixed: How they were mixed.
            excluded: (N, K), entries of the queue that are no negatives, for ``'infonce'``.
            logits: (N, classes) of the mixed images, for ``'ce'`` and ``'pbce'``.
            labels: (N,), classes of the images before they were mixed.
        """
        partners, settings = keys[mixed.permutation], dict(temperature=self.temperature)
        found = {}
        for name in names:
            if name == "infonce":
                loss = mixup_info_nce(z, keys, partners, queue, mixed.lam, excluded=excluded, **settings)
            elif name == "bce":
                loss = mixup_bce(z, keys, partners, mixed.lam, **settings)
            elif name == "ce":
                loss = mixed_cross_entropy(logits, labels, mixed)
            else:
                loss = mixup_pbce(logits, labels, labels[mixed.permutation], mixed.lam)
            found[f"loss_block_{name}"] = loss
        return found

    def mask(self, mask: Tensor, lam: Tensor, scale: Tensor) -> dict[str, Tensor]:
        """Mask loss of masks (N, 1, H, W), its weight times ``scale``; and what the masks are like.

        ``mask_deviation`` is the mean of |mean of a mask − λ|, ``mask_std`` that of the spread within a mask.
        """
        figures = {}
        if self.mask_weight:
            figures["loss_mask"] = self.mask_weight * scale * mask_loss(mask, lam, **self.mask_settings)
        pixels = mask.detach().flatten(1)
        figures["mask_deviation"] = (pixels.mean(1) - lam).abs().mean()
        figures["mask_std"] = pixels.std(1, correction=0).mean()
        return figures


def check_block_losses(names: Sequence[str], *, labels: bool, mask_labels: bool) -> None:
    """Raise ValueError unless ``names`` are some of ``BLOCK_LOSSES`` and have the labels they need."""
    if not names or set(names) - set(BLOCK_LOSSES) or len(set(names)) < len(names):
        raise ValueError(
            f"model.block_losses is {names}; it must name some of {', '.join(BLOCK_LOSSES)}, each once."
        )
    if set(names) & set(NEED_LABELS) and not labels:
        raise ValueError(f"model.block_losses is {names}; ce and pbce need model.labels.")
    if mask_labels and not (labels and "infonce" in names):
        raise ValueError("model.mask_labels=True needs model.labels, and 'infonce' among model.block_losses.")


def check_not_negative(**values: float) -> None:
    """Raise ValueError for a negative setting of a head."""
    for key, value in values.items():
        if value < 0:
            raise ValueError(f"model.head.{key} is {value}; it must not be negative.")

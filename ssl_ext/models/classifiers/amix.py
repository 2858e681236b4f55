"""AMix ("Improving discriminative visual representation learning via automatic mixup", later SAMix)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from ssl_ext.losses import mixed_cross_entropy
from ssl_ext.losses.cross_entropy import cross_entropy
from ssl_ext.models.utils import BlockMixing, frozen, pool_features
from ssl_ext.registry import MODELS

from .momentum import MomentumClassifier


@MODELS.register_module()
class AMix(BlockMixing, MomentumClassifier):
    """A classifier on plain images and on mixtures by a block that learns beside it (AMix, Sec. 3 and 4.1).

    The momentum copy gives the block its feature maps, judges the block's mixtures and is what is meant for
    use. Each step draws λ and a permutation twice: the classifier learns from the plain images and from
    mixtures with detached masks; the block learns from other mixtures that the copy, frozen and in evaluation
    mode, classifies: a gradient reaches the block through activations alone. The copy's running statistics
    are those of its passes over the plain images.

    Args:
        mix_block: Arguments of :class:`ssl_ext.mixups.MixBlock`, ``in_channels`` at least; here
            ``upsampling`` is ``'bilinear'`` by default.
        block_head: Arguments of :class:`ssl_ext.models.heads.MixBlockHead`: what the block learns from.
        alpha: α of λ ~ Beta(α, α).
        lam_per: One λ for each ``'sample'``, or for each ``'step'``. The batch normalisation of the block's
            content takes out what the images of a batch have in common, and so much of a common λ.
        feature_stage: l, the stage of the backbone whose maps the block sees, counted from 1.
        adjust_lam: Give the masks of the classifier's mixtures the mean λ exactly.
        mask_decay: Let the weight of the mask loss fall to 0 by a cosine over the run.
        **kwargs: ``momentum``, ``momentum_schedule``, ``backbone``, ``head`` and ``data_preprocessor``.

    Raises:
        ValueError: A value out of range, or an unknown option.
    """

    batch_dependence = "images are mixed within a batch"
    block_defaults: ClassVar[dict[str, Any]] = dict(upsampling="bilinear")
    head_defaults: ClassVar[dict[str, Any]] = {}

    def __init__(
        self,
        *,
        mix_block: dict,
        block_head: dict | None = None,
        alpha: float = 2.0,
        lam_per: str = "sample",
        feature_stage: int = 3,
        adjust_lam: bool = False,
        mask_decay: bool = False,
        **kwargs,
    ) -> None:
        last = kwargs["backbone"].get("out_indices", (3,))[-1]
        if not 1 <= feature_stage <= last + 1:
            raise ValueError(f"model.feature_stage is {feature_stage}; it must be from 1 to {last + 1}.")
        stages = tuple(sorted({feature_stage - 1, last}))
        super().__init__(**dict(kwargs, backbone=dict(kwargs["backbone"], out_indices=stages)))
        self.set_up_mixing(
            {**self.block_defaults, **mix_block},
            alpha=alpha,
            lam_per=lam_per,
            adjust_lam=adjust_lam,
            mask_decay=mask_decay,
        )
        self.block_head = MODELS.build(dict(self.head_defaults, **(block_head or {}), type="MixBlockHead"))

    def loss(self, inputs: list[Tensor], data_samples: dict) -> dict[str, Tensor]:
        """Named losses of classifier and block; view [(N, C, H, W)], ``data_samples['labels']`` (N,)."""
        (images,), labels = inputs, data_samples["labels"]
        # The plain pass comes first: what listens to the backbone takes it for that of the images.
        losses = dict(loss_plain=cross_entropy(self.classify(images), labels))
        with torch.no_grad():
            outputs = self.deployed.backbone(images)
            mixed, _ = self.mix(images, outputs[0], adjust=self.adjust_lam)
        mix_logits = self.mix_head((self.extract_embedding(mixed.images),))
        losses["loss_mix"] = mixed_cross_entropy(mix_logits, labels, mixed)
        return dict(losses, **self.block_loss(images, outputs, data_samples))

    def block_loss(self, images: Tensor, outputs: Sequence[Tensor], data_samples: dict) -> dict[str, Tensor]:
        """What the block learns from; ``outputs`` are the copy's of the plain images."""
        mixed, mask = self.mix(images, outputs[0])
        with frozen(self.deployed):
            z_mix = pool_features(self.deployed.backbone(mixed.images))
            logits = self.block_logits(z_mix)
        labels = self.block_labels(data_samples)
        terms = self.block_head.loss(logits, z_mix, pool_features(outputs), labels, mixed, mask)
        if "loss_mask" in terms:
            terms["loss_mask"] = self.mask_scale * terms["loss_mask"]
        return terms

    def block_logits(self, z_mix: Tensor) -> Tensor | None:
        """What the copy makes of the features (N, D) of the block's mixtures."""
        return self.deployed.neck["mix_head"]((z_mix,))

    def block_labels(self, data_samples: dict) -> Tensor:
        """The classes (N,) that the block learns from."""
        return data_samples["labels"]

    def block_features(self, images: Tensor) -> Tensor:
        """Maps (N, C, h, w) of the momentum copy's stage l."""
        return self.deployed.backbone(images)[0]

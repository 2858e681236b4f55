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
    """Classifier trained jointly with a block that mixes its images (AMix, Sec. 3 and 4.1).

    The EMA copy provides the block's feature maps, classifies the block's mixtures and is used for inference.
    Each step draws λ and a permutation twice. The classifier is trained on the plain images and on mixtures
    with detached masks. The block is trained on other mixtures, classified by the copy, which is frozen and
    in evaluation mode, so gradients reach the block only through activations. The copy's running statistics
    come from its passes over the plain images.

    Args:
        mix_block: Arguments of :class:`ssl_ext.mixups.MixBlock`, ``in_channels`` required; here
            ``upsampling`` is ``'bilinear'`` by default.
        block_head: Arguments of :class:`ssl_ext.models.heads.MixBlockHead`, the block's losses.
        alpha: α of λ ~ Beta(α, α).
        lam_per: Draw λ per ``'sample'`` or per ``'step'``. Batch normalisation in the block's content branch
            removes most of a λ that the whole batch shares.
        feature_stage: l, the backbone stage whose feature maps the block gets, counted from 1.
        adjust_lam: Rescale the masks of the classifier's mixtures to a mean of exactly λ.
        mask_decay: Decay the weight of the mask loss to 0 by a cosine over the run.
        constant_mask: Replace all masks by the constant λ, the control of the learned mask.
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
        constant_mask: bool = False,
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
            constant_mask=constant_mask,
        )
        self.block_head = MODELS.build(dict(self.head_defaults, **(block_head or {}), type="MixBlockHead"))

    def loss(self, inputs: list[Tensor], data_samples: dict) -> dict[str, Tensor]:
        """Named losses of classifier and block; view [(N, C, H, W)], ``data_samples['labels']`` (N,)."""
        (images,), labels = inputs, data_samples["labels"]
        # The plain pass comes first: forward hooks on the backbone use the first pass of a step.
        losses = dict(loss_plain=cross_entropy(self.classify(images), labels))
        with torch.no_grad():
            outputs = self.deployed.backbone(images)
            mixed, _ = self.mix(images, outputs[0], adjust=self.adjust_lam)
        mix_logits = self.mix_head((self.extract_embedding(mixed.images),))
        losses["loss_mix"] = mixed_cross_entropy(mix_logits, labels, mixed)
        return dict(losses, **self.block_loss(images, outputs, data_samples))

    def block_loss(self, images: Tensor, outputs: Sequence[Tensor], data_samples: dict) -> dict[str, Tensor]:
        """Named losses of the block; ``outputs`` are the copy's backbone outputs for the plain images."""
        mixed, mask = self.mix(images, outputs[0])

        def embed(images: Tensor) -> Tensor:
            return pool_features(self.deployed.backbone(images))

        with frozen(self.deployed):
            z_mix, z_mixup = embed(mixed.images), self.embed_mixup(images, mixed, embed)
            logits = self.block_logits(z_mix)
        labels = self.block_labels(data_samples)
        keys = pool_features(outputs)
        terms = self.block_head.loss(logits, z_mix, keys, labels, mixed, mask, z_mixup=z_mixup)
        if "loss_mask" in terms:
            terms["loss_mask"] = self.mask_scale * terms["loss_mask"]
        return terms | self.block_figures()

    def block_logits(self, z_mix: Tensor) -> Tensor | None:
        """Logits (N, K) of the copy for the features (N, D) of the block's mixtures."""
        return self.deployed.neck["mix_head"]((z_mix,))

    def block_labels(self, data_samples: dict) -> Tensor:
        """Classes (N,) for the block's losses."""
        return data_samples["labels"]

    def block_features(self, images: Tensor) -> Tensor:
        """Feature maps (N, C, h, w) of the EMA copy after stage l."""
        return self.deployed.backbone(images)[0]

"""AMix on MoCo v2: a Mix Block trained jointly with the network (Sec. 3 of the paper)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ssl_ext.models.heads.amix_heads import NEED_LABELS, check_block_losses
from ssl_ext.models.utils import BlockMixing, Queue, count_stages, frozen, stage_features

from .mixed_moco import MixedMoCo, MixingStep

NO_LABEL = -1.0


class AMixMoCo(BlockMixing, MixedMoCo):
    """MoCo v2 whose query views are mixed by a block that takes the key network's feature maps.

    Each step draws λ and a permutation twice. The network is trained on mixtures with detached masks. The
    block is trained with the mask loss and on other mixtures, embedded by the frozen key network
    (:func:`frozen`), so gradients reach the block only through activations.

    Args:
        block_losses: Losses of the block's mixtures: ``'infonce'`` (Eq. 4), ``'bce'`` (Eq. 6), ``'ce'`` and
            ``'pbce'`` (both need ``labels``).
        mix_block: Arguments of :class:`ssl_ext.mixups.MixBlock`, ``in_channels`` required; here
            ``upsampling`` is ``'bilinear'`` by default.
        labels: As for :class:`MixedMoCo`.
        mask_labels: Exclude negatives of ``'infonce'`` that share a label with one of the sources.
        alpha: α of λ ~ Beta(α, α).
        lam_per: Draw λ per ``'sample'`` or per ``'step'``.
        feature_stage: l, the backbone stage whose feature maps the block gets, counted from 1.
        adjust_lam: Rescale the masks of the network's mixtures to a mean of exactly λ.
        mask_decay: Decay the weight of the mask loss to 0 by a cosine over the run.
        constant_mask: Replace all masks by the constant λ, the control of the learned mask.
        **kwargs: ``pipeline`` of :class:`MixedMoCo`, and arguments of :class:`MoCo`.

    Raises:
        ValueError: A value out of range, or a block loss without the labels it needs.
    """

    def __init__(
        self,
        *,
        block_losses: Sequence[str],
        mix_block: dict,
        labels: dict | None = None,
        mask_labels: bool = False,
        alpha: float = 2.0,
        lam_per: str = "sample",
        feature_stage: int = 3,
        adjust_lam: bool = True,
        mask_decay: bool = False,
        constant_mask: bool = False,
        **kwargs,
    ) -> None:
        names = tuple(block_losses)
        check_block_losses("model.block_losses", names)
        by_class = bool(set(names) & set(NEED_LABELS))
        if by_class and labels is None:
            raise ValueError(f"model.block_losses is {list(names)}; ce and pbce need model.labels.")
        if mask_labels and (labels is None or "infonce" not in names):
            raise ValueError(
                "model.mask_labels=True needs model.labels, and 'infonce' among model.block_losses."
            )
        super().__init__(labels=labels, classifier=by_class, **kwargs)
        stages = count_stages(self.backbone)
        if not 1 <= feature_stage <= stages:
            raise ValueError(f"model.feature_stage is {feature_stage}; it must be from 1 to {stages}.")
        self.block_losses, self.by_class = names, by_class
        self.feature_stage = feature_stage
        self.set_up_mixing(
            {"upsampling": "bilinear", **mix_block},
            alpha=alpha,
            lam_per=lam_per,
            adjust_lam=adjust_lam,
            mask_decay=mask_decay,
            constant_mask=constant_mask,
        )
        self.label_queue: Queue | None = None
        if mask_labels:
            # Labels of the queue's entries, enqueued together with them.
            self.label_queue = Queue(len(self.queues[0].features), 1)
            self.label_queue.features.fill_(NO_LABEL)

    def loss(self, inputs: list[Tensor], data_samples: dict | None = None) -> dict[str, Tensor]:
        """Named, weighted loss terms of a query view and a key view, each (N, C, H, W)."""
        losses = super().loss(inputs, data_samples)
        if self.training and self.label_queue is not None:
            self.label_queue.enqueue(self.label_source.labels_for(data_samples)[:, None])
        return losses

    def mixed_losses(self, step: MixingStep) -> dict[str, Tensor]:
        """The network's InfoNCE of mixtures, and the block's losses."""
        with torch.no_grad():
            features = self.block_features(step.images)
        losses = {}
        if self.head.mixed_weight:
            with torch.no_grad():
                mixed, _ = self.mix(step.images, features, adjust=self.adjust_lam)
            z = self.embed_queries(mixed.images)
            losses.update(self.head.mixed(z, step.keys, step.queue, mixed))
        return dict(losses, **self.judge_block(step, features))

    def judge_block(self, step: MixingStep, features: Tensor) -> dict[str, Tensor]:
        """Losses of the block on its own mixtures."""
        mixed, mask = self.mix(step.images, features)
        classifier = self.label_source.classifier if self.by_class else None
        with frozen(self.key_network, *([] if classifier is None else [classifier])):
            pooled, z = self.embed_frozen(mixed.images)
            z_mixup = self.embed_mixup(step.images, mixed, lambda images: self.embed_frozen(images)[1])
            logits = None if classifier is None else classifier(pooled)
        losses = self.head.block_terms(
            self.block_losses,
            z,
            step.keys,
            step.queue,
            mixed,
            excluded=self.excluded(step.labels, mixed.permutation),
            logits=logits,
            labels=step.labels,
            known=None if self.label_source is None else self.label_source.known(step.labels),
            z_mixup=z_mixup,
        )
        figures = self.head.mask_terms(mask, mixed.lam, self.mask_scale)
        return dict(losses, **figures, **self.block_figures())

    def excluded(self, labels: Tensor | None, permutation: Tensor) -> Tensor | None:
        """Mask (N, K) of queue entries with the label of either source; None if all are negatives."""
        if self.label_queue is None:
            return None
        found = self.label_queue.features[:, 0] == labels[:, None]
        if (known := self.label_source.known(labels)) is not None:
            found &= known[:, None]
        return found | found[permutation]

    def block_features(self, images: Tensor) -> Tensor:
        """Feature maps (N, C, h, w) of the key network after stage l."""
        return stage_features(self.key_network.backbone, images, self.feature_stage)

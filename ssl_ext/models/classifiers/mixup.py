"""Classifiers trained on mixtures that a hand-made policy draws."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from torch import Tensor

from ssl_ext.losses import mixed_cross_entropy
from ssl_ext.losses.cross_entropy import cross_entropy
from ssl_ext.mixups.mixed import Mixed
from ssl_ext.models.utils import (
    count_stages,
    host_random,
    pool_features,
    running_statistics_kept,
    stage_replaced,
)
from ssl_ext.registry import MODELS

from .base import ImageClassifier


@MODELS.register_module()
class MixupClassifier(ImageClassifier):
    """Cross-entropy of mixed images, or of features mixed at a random layer (ManifoldMix).

    Args:
        policy: Config of the mixing, such as ``dict(type='MixingPolicy', name='cutmix', alpha=0.2)``.
        layers: Where it may act; one is drawn for each step. 0 is the images, l the output of stage l of a
            backbone in stages (``layer1``, ``layer2``, ... of a ResNet). By default the images alone, or
            for ``'manifoldmix'`` 0, 1 and 2, as in its paper.
        **kwargs: As for :class:`ImageClassifier`.

    Raises:
        ValueError: A layer that the backbone does not have, or a policy that needs the gradient at the images
            and is to act elsewhere.
    """

    batch_dependence = "images are mixed within a batch"

    def __init__(self, *, policy: dict, layers: Sequence[int] | None = None, **kwargs) -> None:
        super().__init__(**kwargs)
        self.policy = MODELS.build(policy)
        if layers is None:
            layers = (0, 1, 2) if self.policy.name == "manifoldmix" else (0,)
        self.layers = tuple(layers)
        stages = count_stages(self.backbone)
        if not self.layers or not all(isinstance(x, int) and 0 <= x <= stages for x in self.layers):
            raise ValueError(
                f"model.layers is {self.layers}; allowed are 0 (the images) to {stages} (its last stage)."
            )
        if self.policy.needs_gradient and self.layers != (0,):
            raise ValueError(
                f"model.layers is {self.layers}; this policy follows the gradient at the images: layers=(0,)."
            )
        self.before_step(1, 1)

    @property
    def capture_obstacle(self) -> str | None:
        """The policy's host-side solver, if it has one."""
        return self.policy.capture_obstacle

    def step_variant(self, step: int, iteration: int) -> Hashable:
        """Layer whose output is mixed, one of ``layers``."""
        return host_random(iteration).choice(self.layers)

    def loss(self, inputs: list[Tensor], data_samples: dict) -> dict[str, Tensor]:
        """Cross-entropy of mixtures of the view [(N, C, H, W)], labels mixed in the same shares."""
        (images,) = inputs
        labels = data_samples["labels"]
        layer = self.variant
        if layer == 0:
            mixed = self.mix(images, labels)
            features = pool_features(self.backbone(mixed.images))
        else:
            features, mixed = self.mix_inside(images, labels, layer)
        return dict(loss_mix=mixed_cross_entropy(self.head((features,)), labels, mixed))

    def mix(self, images: Tensor, labels: Tensor) -> Mixed:
        """Mixtures of the images; a policy that asks for it may follow the gradient of their loss."""
        if not self.policy.needs_gradient:
            return self.policy(images, labels=labels)

        def loss_of(images: Tensor) -> Tensor:
            return cross_entropy(self.classify(images), labels)

        with running_statistics_kept(self.backbone):
            return self.policy(images, labels=labels, loss_fn=loss_of)

    def mix_inside(self, images: Tensor, labels: Tensor, layer: int) -> tuple[Tensor, Mixed]:
        """Features (N, C) of a pass in which the output of stage ``layer`` was mixed, and how it was."""
        mixtures: list[Mixed] = []

        def mix(output: Tensor) -> Tensor:
            mixtures.append(self.policy(output, labels=labels))
            return mixtures[0].images

        with stage_replaced(self.backbone, layer, mix):
            features = pool_features(self.backbone(images))
        return features, mixtures[0]

"""Classifiers trained on images mixed by a hand-crafted policy."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ssl_ext.losses import mixed_cross_entropy
from ssl_ext.losses.cross_entropy import cross_entropy
from ssl_ext.mixups.mixed import Mixed
from ssl_ext.models.utils import LayerMixing, running_statistics_kept
from ssl_ext.registry import MODELS
from ssl_ext.values import check_not_negative

from .base import ImageClassifier


@MODELS.register_module()
class MixupClassifier(LayerMixing, ImageClassifier):
    """Cross-entropy of mixed images, or of features mixed at a random layer (ManifoldMix).

    Args:
        policy: Config of the mixing, such as ``dict(type='MixingPolicy', name='cutmix', alpha=0.2)``.
        layers: Layers to mix at, as for :class:`LayerMixing`; by default 0 (the images), and 0, 1 and 2 for
            ``'manifoldmix'``, as in its paper.
        plain_weight: Weight of the cross-entropy of the plain images, ≥ 0; by default 1 for ``'co_mixup'``,
            as in the authors' code, and 0 for all others.
        **kwargs: As for :class:`ImageClassifier`.

    Raises:
        ValueError: A negative weight, a layer that the backbone does not have, or a layer other than 0 with
            a policy that needs the gradient at the images.
    """

    batch_dependence = "images are mixed within a batch"

    def __init__(
        self,
        *,
        policy: dict,
        layers: Sequence[int] | None = None,
        plain_weight: float | None = None,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        mixing = MODELS.build(policy)
        if layers is None:
            layers = (0, 1, 2) if mixing.name == "manifoldmix" else (0,)
        self.set_up_layers(mixing, layers)
        self.plain_weight = float(mixing.name == "co_mixup") if plain_weight is None else plain_weight
        check_not_negative("model", plain_weight=self.plain_weight)

    def loss(self, inputs: list[Tensor], data_samples: dict) -> dict[str, Tensor]:
        """Cross-entropy of the mixed view [(N, C, H, W)] with labels mixed alike, and of the plain view."""
        (images,), labels = inputs, data_samples["labels"]
        losses = {}
        if self.plain_weight:
            losses["loss_plain"] = self.plain_weight * cross_entropy(self.classify(images), labels)
        logits, mixed = self.embed_mixed(images, labels, self.classify, lambda x: self.mix(x, labels))
        return dict(losses, loss_mix=mixed_cross_entropy(logits, labels, mixed))

    def mix(self, images: Tensor, labels: Tensor) -> Mixed:
        """Mix images (N, C, H, W); policies with saliency get the loss of the images to differentiate."""
        if not self.policy.needs_gradient:
            return self.policy(images, labels=labels)

        def loss_of(images: Tensor) -> Tensor:
            return cross_entropy(self.classify(images), labels)

        with running_statistics_kept(self.backbone):
            return self.policy(images, labels=labels, loss_fn=loss_of)

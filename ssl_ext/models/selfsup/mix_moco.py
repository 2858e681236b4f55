"""MoCo v2 with hand-crafted mixing policies (the baselines of AMix), Un-Mix and BSIM."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_ext.losses import info_nce
from ssl_ext.mixups import Mixed, cutmix, mixup
from ssl_ext.models.utils import LayerMixing, frozen, host_random
from ssl_ext.models.utils.mixing import draw_lam
from ssl_ext.registry import MODELS
from ssl_ext.values import check_positive

from .mixed_moco import MixedMoCo, MixingStep


@MODELS.register_module()
class MixMoCo(LayerMixing, MixedMoCo):
    """MoCo v2 with a mixing policy in the cross-view pipeline (AMix, Tables 4 and 5).

    Policies with saliency differentiate a loss of the frozen key network: cross-entropy of the classifier if
    there are labels, else InfoNCE.

    Args:
        policy: Config of the mixing, such as ``dict(type='MixingPolicy', name='cutmix', alpha=0.2)``.
        layers: Layers to mix at, as for :class:`LayerMixing`.
        **kwargs: ``pipeline`` and ``labels`` of :class:`MixedMoCo`, and arguments of :class:`MoCo`.

    Raises:
        ValueError: A layer that the backbone lacks or the policy cannot mix at, or a policy that needs labels
            without ``labels``.
    """

    def __init__(
        self, *, policy: dict, layers: Sequence[int] = (0,), labels: dict | None = None, **kwargs
    ) -> None:
        mixing = MODELS.build(policy)
        if mixing.needs_labels and labels is None:
            raise ValueError(f"model.policy {mixing.name!r} mixes by class and needs model.labels.")
        super().__init__(labels=labels, classifier=mixing.needs_gradient, **kwargs)
        self.set_up_layers(mixing, layers)

    def mixed_losses(self, step: MixingStep) -> dict[str, Tensor]:
        """InfoNCE of the mixtures; empty if its weight is 0."""
        if not self.head.mixed_weight:
            return {}
        z, mixed = self.embed_mixed(
            step.images, step.labels, self.embed_queries, lambda images: self.mix(images, step)
        )
        return self.head.mixed(z, step.keys, step.queue, mixed)

    def mix(self, images: Tensor, step: MixingStep) -> Mixed:
        """Mix images (N, C, H, W) of the step."""
        if not self.policy.needs_gradient:
            return self.policy(images, labels=step.labels)
        parts = [self.key_network]
        classifier = None if self.label_source is None else self.label_source.classifier
        if classifier is not None:
            parts.append(classifier)

        def loss_of(images: Tensor) -> Tensor:
            features, z = self.embed_frozen(images)
            if classifier is not None:
                return F.cross_entropy(classifier(features), step.labels)
            return info_nce(z, step.keys, step.queue, temperature=self.head.temperature)

        with frozen(*parts):
            return self.policy(images, labels=step.labels, loss_fn=loss_of)


@MODELS.register_module()
class UnMix(MixedMoCo):
    """Un-Mix (Shen et al., 2022): the batch mixed with itself in reverse order, by MixUp or CutMix.

    L = InfoNCE of the plain views + λ · InfoNCE of the mixtures with the keys in order + (1 − λ) · InfoNCE
    with the keys in reverse order (as Eq. 4 of AMix), with one λ ~ Beta(α, α) per step.

    Args:
        alpha: α > 0.
        cutmix_prob: Probability of CutMix instead of MixUp in a step.
        **kwargs: As for :class:`MoCo`.

    Raises:
        ValueError: A number out of range.
    """

    def __init__(self, *, alpha: float = 1.0, cutmix_prob: float = 0.5, **kwargs) -> None:
        check_positive("model", alpha=alpha)
        if not 0 <= cutmix_prob <= 1:
            raise ValueError(f"model.cutmix_prob is {cutmix_prob}; it must be from 0 to 1.")
        super().__init__(**kwargs)
        self.alpha, self.cutmix_prob = alpha, cutmix_prob
        self.before_step(1, 1)

    def step_variant(self, step: int, iteration: int) -> Hashable:
        """``'cutmix'`` or ``'mixup'``."""
        return "cutmix" if host_random(iteration).random() < self.cutmix_prob else "mixup"

    def mixed_losses(self, step: MixingStep) -> dict[str, Tensor]:
        """InfoNCE of the mixtures with the keys in order and in reverse order."""
        images = step.images
        reverse = torch.arange(len(images) - 1, -1, -1, device=images.device)
        mix = cutmix if self.variant == "cutmix" else mixup
        mixtures, lam = mix(images, draw_lam(self.alpha, images.device), reverse)
        mixed = Mixed(mixtures, lam, reverse)
        return self.head.mixed(self.embed_queries(mixtures), step.keys, step.queue, mixed)


@MODELS.register_module()
class BSIM(MixMoCo):
    """BSIM (Chu et al., 2020): a mixture and each of its sources are a "spurious-positive" pair.

    L = λ · InfoNCE with the first source + (1 − λ) · InfoNCE with the second (Eq. 4 of AMix). The head's
    ``plain_weight`` is 0 for BSIM; above 0 it adds InfoNCE of the plain views (WBSIM).

    Args:
        policy: Config of the mixing; by default CutMix with α = 1.
        **kwargs: As for :class:`MixMoCo`.
    """

    def __init__(self, *, policy: dict | None = None, **kwargs) -> None:
        super().__init__(policy=policy or dict(type="MixingPolicy", name="cutmix", alpha=1.0), **kwargs)

"""Mixing by a policy at one of several layers."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

from torch import Tensor

from ssl_ext.mixups import Mixed

from .host_draws import host_random
from .mixing import MixingPolicy
from .stages import count_stages, stage_replaced


class LayerMixing:
    """Mixin for models: mix images, or features at a layer drawn per batch (ManifoldMix)."""

    def set_up_layers(self, policy: MixingPolicy, layers: Sequence[int]) -> None:
        """Store the policy and its layers; call it after ``nn.Module.__init__``.

        Args:
            policy: How to mix.
            layers: Layers to choose from: 0 is the images, l the output of stage l of the backbone.

        Raises:
            ValueError: A layer that the backbone does not have, or a layer other than 0 with a policy that
                needs the gradient at the images.
        """
        self.policy, self.layers = policy, tuple(layers)
        stages = count_stages(self.backbone)
        if not self.layers or not all(isinstance(x, int) and 0 <= x <= stages for x in self.layers):
            raise ValueError(
                f"model.layers is {self.layers}; allowed are 0 (the images) to {stages}, the stages of the "
                "backbone."
            )
        if policy.needs_gradient and self.layers != (0,):
            raise ValueError(
                f"model.layers is {self.layers}; this policy follows the gradient at the images: layers=(0,)."
            )
        self.before_step(1, 1)

    @property
    def capture_obstacle(self) -> str | None:
        """Reason of the policy, if it has one."""
        return self.policy.capture_obstacle

    def step_variant(self, step: int, iteration: int) -> Hashable:
        """Layer to mix at, one of ``layers``."""
        return host_random(iteration).choice(self.layers)

    def embed_mixed(
        self,
        images: Tensor,
        labels: Tensor | None,
        embed: Callable[[Tensor], Tensor],
        mix: Callable[[Tensor], Mixed],
    ) -> tuple[Tensor, Mixed]:
        """Embeddings with images or features mixed by ``mix``, and the mixture."""
        if self.variant == 0:
            mixed = mix(images)
            return embed(mixed.images), mixed
        mixtures: list[Mixed] = []

        def mix_features(features: Tensor) -> Tensor:
            mixtures.append(self.policy(features, labels=labels))
            return mixtures[0].images

        with stage_replaced(self.backbone, self.variant, mix_features):
            return embed(images), mixtures[0]

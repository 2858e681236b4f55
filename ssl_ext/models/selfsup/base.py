"""What the self-supervised algorithms of this project share."""

from __future__ import annotations

from collections.abc import Iterator

from mmpretrain.models.selfsup.base import BaseSelfSupervisor
from torch import Tensor

from ssl_ext.models.utils import MomentumNetwork, check_momentum, momentum_at, pool_features


class SelfSupervisedModel(BaseSelfSupervisor):
    """Backbone, neck (projector) and head; subclasses say which network sees which view.

    ``loss`` changes a state (queue, memory bank) in training mode only. A subclass that sets
    ``num_views`` is told before training if the config draws another number of views.

    ``batch_coupling`` says what ties the images of a batch together, so that gradients accumulated over
    several batches are not those of one large batch ("as ..."). None: the loss is a mean over images, none
    of which has a part in what another is compared with.
    """

    num_views: int | None = None
    batch_coupling: str | None

    def extract_embedding(self, images: Tensor) -> Tensor:
        """Backbone features y after pooling, (N, C), of normalised images (N, channels, H, W)."""
        return pool_features(self.backbone(images))

    def project(self, features: Tensor) -> Tensor:
        """Projector output z, (N, D), of pooled features y (N, C)."""
        return self.neck((features,))[0]


class MomentumModel(SelfSupervisedModel):
    """A model with :class:`MomentumNetwork` copies, each of which follows its backbone and neck.

    Subclasses make the copies in ``__init__``. They start equal to the initialised (or loaded) network
    and follow it after every optimiser step.

    Args:
        momentum: EMA momentum m in [0, 1].
        momentum_schedule: ``'constant'``, or ``'cosine'`` from m up to 1 over the run.
        **kwargs: ``backbone``, ``neck``, ``head`` and ``data_preprocessor`` configs.

    Raises:
        ValueError: A momentum out of range or an unknown schedule.
    """

    def __init__(self, *, momentum: float, momentum_schedule: str = "constant", **kwargs) -> None:
        check_momentum(momentum, momentum_schedule)
        super().__init__(**kwargs)
        self.momentum = momentum
        self.momentum_schedule = momentum_schedule

    def copies(self) -> Iterator[MomentumNetwork]:
        """All networks that follow."""
        return (module for module in self.modules() if isinstance(module, MomentumNetwork))

    def followers(self, step: int) -> Iterator[MomentumNetwork]:
        """The copies that are updated after optimiser step ``step`` (counted from 1)."""
        return self.copies()

    def init_weights(self) -> None:
        """Initialise the network and start the copies from it."""
        super().init_weights()
        self.restart_copies()

    def restart_copies(self) -> None:
        """Make every copy equal to the network."""
        for copy in self.copies():
            copy.copy_from(self.backbone, self.neck)

    def after_step(self, step: int, max_steps: int) -> None:
        """Let the copies follow; ``step`` optimiser steps (of ``max_steps``) have been taken."""
        momentum = momentum_at(step, max_steps, self.momentum, self.momentum_schedule)
        for follower in self.followers(step):
            follower.update(self.backbone, self.neck, momentum)

"""SwAV (Caron et al., 2020)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from ssl_ext.losses import swapped_prediction_loss, unit_rows
from ssl_ext.losses.standardize import full_precision
from ssl_ext.registry import MODELS
from ssl_ext.values import check_at_least, check_positive

from .base import SelfSupervisedModel


@MODELS.register_module()
class SwAV(SelfSupervisedModel):
    """Two views, and optional small crops, through one network; the head holds the prototypes.

    Each view has its own forward pass, assignments balance the prototypes over the batch of all processes,
    and there is no queue. MMPretrain's class of this name passes all views of one size as one batch, which
    joins their batch statistics, balances within each process, and needs a hook for frozen prototypes and
    queue.

    Args:
        freeze_prototypes_steps: Number of first optimiser steps with a zero gradient for the prototypes. If
            the optimiser adds weight decay to the gradient (Adam), exclude ``head.prototypes`` from it
            (``optim_wrapper.paramwise_cfg``); otherwise the decay still changes them.
        **kwargs: ``backbone``, ``neck``, ``head`` and ``data_preprocessor`` configs.

    Raises:
        ValueError: A negative number of steps.
    """

    batch_dependence = "the assignments balance the prototypes over a batch"
    steps: Tensor

    def __init__(self, *, freeze_prototypes_steps: int = 0, **kwargs) -> None:
        check_at_least("model", 0, freeze_prototypes_steps=freeze_prototypes_steps)
        super().__init__(**kwargs)
        self.freeze_prototypes_steps = freeze_prototypes_steps
        # A buffer on the device: read without a host sync, and restored from checkpoints.
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def loss(self, inputs: list[Tensor], data_samples: dict | None = None) -> dict[str, Tensor]:
        """Named loss of two or more views, each (N, C, H, W) with any H and W.

        Raises:
            ValueError: Fewer than two views.
        """
        if len(inputs) < 2:
            raise ValueError(f"SwAV compares two views or more, got {len(inputs)}: change views[].repeats.")
        embeddings = [self.project(self.extract_embedding(view)) for view in inputs]
        return self.head.loss(*embeddings, prototypes_learn=self.steps >= self.freeze_prototypes_steps)

    def step_numbers(self, step: int, max_steps: int) -> dict[str, float]:
        """Add the number of optimiser steps taken."""
        return dict(super().step_numbers(step, max_steps), steps=float(step))

    def after_update(self, numbers: Mapping[str, Tensor]) -> None:
        """Store the number of optimiser steps taken."""
        self.steps.copy_(numbers["steps"])


@MODELS.register_module()
class SwAVHead(BaseModule):
    """Prototypes, and the loss of predicting a view's assignments to them from the other views.

    The forward pass normalises the prototypes, so only the direction of the parameter matters.

    Args:
        in_channels: Dimension D of the embeddings.
        num_prototypes: K, number of prototypes.
        temperature: τ of the softmax of the predictions.
        epsilon: Entropy weight of the assignments.
        sinkhorn_iterations: Sinkhorn iterations of the assignments.

    Raises:
        ValueError: A number out of range.
    """

    def __init__(
        self,
        in_channels: int,
        num_prototypes: int,
        temperature: float = 0.1,
        epsilon: float = 0.05,
        sinkhorn_iterations: int = 3,
    ) -> None:
        super().__init__()
        check_at_least("model.head", 1, in_channels=in_channels, sinkhorn_iterations=sinkhorn_iterations)
        check_at_least("model.head", 2, num_prototypes=num_prototypes)
        check_positive("model.head", temperature=temperature, epsilon=epsilon)
        self.settings = dict(temperature=temperature, epsilon=epsilon, iterations=sinkhorn_iterations)
        self.prototypes = nn.Parameter(F.normalize(torch.randn(num_prototypes, in_channels), dim=1))

    def loss(self, *embeddings: Tensor, prototypes_learn: Tensor | None = None) -> dict[str, Tensor]:
        """Loss of the projector outputs of two or more views, each (N, D).

        Args:
            embeddings: Projector outputs of the views; assignments are computed for the first two.
            prototypes_learn: 0-dim bool tensor; where it is False the prototypes receive a zero gradient.
        """
        prototypes = self.prototypes
        if prototypes_learn is not None:
            prototypes = torch.where(prototypes_learn, prototypes, prototypes.detach())
        with full_precision(prototypes):
            prototypes = unit_rows(prototypes)
            scores = [unit_rows(z) @ prototypes.T for z in embeddings]
        return dict(loss_swapped_prediction=swapped_prediction_loss(*scores, **self.settings))

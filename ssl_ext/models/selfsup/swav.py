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
    """Two views (and small crops, if there are more) through one network; prototypes are in the head.

    MMPretrain's class of this name passes all views of one size through the network as one batch, which
    joins their batch statistics, and needs a hook for its frozen prototypes and its queue of embeddings.
    Here each view has its own pass and the state is in the checkpoint; there is no queue. On several
    processes its assignments balance the prototypes within each process; here over the joined batch.

    Args:
        freeze_prototypes_steps: In so many first optimiser steps the prototypes receive a zero gradient.
            With an optimiser that adds weight decay to the gradient (Adam), take ``head.prototypes`` out
            of it (``optim_wrapper.paramwise_cfg``), or the decay alone would turn them.
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
        # On the device and in the checkpoint: read without waiting, right after a resume too.
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def loss(self, inputs: list[Tensor], data_samples: dict | None = None) -> dict[str, Tensor]:
        """Named loss of two or more views, each (N, C, H, W) with any H and W.

        Raises:
            ValueError: There is one view only.
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
    """Prototypes, and the loss of predicting one view's assignments to them from the other views.

    The prototypes are normalised as part of the forward pass: the parameter itself is written by the
    optimiser alone, and only its direction matters.

    Args:
        in_channels: Dimension D of the embeddings.
        num_prototypes: How many prototypes, K.
        temperature: τ of the softmax that predicts.
        epsilon: Entropy weight of the assignments.
        sinkhorn_iterations: Iterations that make the assignments.

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
        """The loss of the projector outputs of two or more views, each (N, D).

        Args:
            embeddings: Outputs of the views; the first two give assignments.
            prototypes_learn: 0-dim bool tensor; where it is False the prototypes receive a zero gradient.
        """
        prototypes = self.prototypes
        if prototypes_learn is not None:
            prototypes = torch.where(prototypes_learn, prototypes, prototypes.detach())
        with full_precision(prototypes):
            prototypes = unit_rows(prototypes)
            scores = [unit_rows(z) @ prototypes.T for z in embeddings]
        return dict(loss_swapped_prediction=swapped_prediction_loss(*scores, **self.settings))

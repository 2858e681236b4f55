"""SwAV (Caron et al., 2020)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ssl_ext.registry import MODELS

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
        if not isinstance(freeze_prototypes_steps, int) or freeze_prototypes_steps < 0:
            raise ValueError(
                f"model.freeze_prototypes_steps is {freeze_prototypes_steps!r}; it must be 0 or more."
            )
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

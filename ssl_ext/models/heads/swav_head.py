"""Head of SwAV."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from ssl_ext.losses import swapped_prediction_loss, unit_rows
from ssl_ext.losses.standardize import full_precision
from ssl_ext.registry import MODELS


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
        for key, value, smallest in (
            ("in_channels", in_channels, 1),
            ("num_prototypes", num_prototypes, 2),
            ("sinkhorn_iterations", sinkhorn_iterations, 1),
        ):
            if not isinstance(value, int) or value < smallest:
                raise ValueError(f"model.head.{key} is {value!r}; it must be at least {smallest}.")
        for key, number in (("temperature", temperature), ("epsilon", epsilon)):
            if not number > 0:
                raise ValueError(f"model.head.{key} is {number}; it must be above 0.")
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

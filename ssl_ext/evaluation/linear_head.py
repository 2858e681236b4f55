"""A fitted linear classifier."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .tasks import probabilities


@dataclass(frozen=True)
class LinearHead:
    """Weight (C, D) and bias (C,) on raw features; C is 1 for a ``binary`` task."""

    weight: Tensor
    bias: Tensor
    task: str

    @torch.no_grad()
    def scores(self, features: Tensor) -> Tensor:
        """Class probabilities (N, C) of features (N, D)."""
        logits = F.linear(features.to(self.weight), self.weight, self.bias)
        return probabilities(logits, self.task)

    def unstandardized(self, mean: Tensor, std: Tensor) -> LinearHead:
        """The head on raw features x that equals this one on (x − mean) / std."""
        weight = self.weight / std
        return LinearHead(weight, self.bias - weight @ mean, self.task)


def initial_layer(width: int, outputs: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Weight (outputs, width) uniform in ±1/√width, and zero bias."""
    weight = torch.empty(outputs, width)
    torch.nn.init.uniform_(weight, -(width**-0.5), width**-0.5, generator=generator)
    return weight, torch.zeros(outputs)

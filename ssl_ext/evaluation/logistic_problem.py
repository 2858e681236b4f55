"""Objectives of many logistic regressions, their gradients and curvature."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Problem:
    """Objectives of P problems at S strengths, convex functions of (P, S, C, R).

    ``data`` (P, N, R), ``target`` (P, N, C), ``penalty`` (S, 1, R), ``offset`` (P, C); ``weight`` of the
    terms of the mean (P, N, 1), for sigmoids (P, N, C).
    """

    data: Tensor
    target: Tensor
    penalty: Tensor
    softmax: bool
    offset: Tensor | None
    weight: Tensor | None = None

    def weighted(self, terms: Tensor) -> Tensor:
        """Multiply terms (P, S, N, 1 or C) by the weights."""
        return terms if self.weight is None else terms * self.weight.unsqueeze(1)

    def logits(self, point: Tensor) -> Tensor:
        """Linear part (P, S, N, C) of the logits."""
        flat = torch.bmm(self.data, point.flatten(1, 2).mT)
        return flat.unflatten(2, point.shape[1:3]).transpose(1, 2)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Softmax or sigmoid."""
        return logits.softmax(3) if self.softmax else logits.sigmoid()

    def value(self, logits: Tensor, point: Tensor) -> Tensor:
        """Objective (P, S)."""
        picked = self.target.unsqueeze(1) * logits
        if self.softmax:
            each = torch.logsumexp(logits, 3, keepdim=True) - picked.sum(3, keepdim=True)
        else:
            each = torch.nn.functional.softplus(logits) - picked
        return self.weighted(each).sum(3).mean(2) + (self.penalty * point.square()).sum((2, 3)) / 2

    def gradient(self, logits: Tensor, point: Tensor) -> Tensor:
        """Gradient (P, S, C, R) of the objective."""
        error = self.weighted(self.probabilities(logits) - self.target.unsqueeze(1))
        flat = torch.bmm(error.transpose(1, 2).flatten(2).mT, self.data) / self.data.shape[1]
        return flat.view_as(point) + self.penalty * point

    def single(self, p: int, k: int) -> Problem:
        """Problem ``p`` at strength ``k``."""
        offset = None if self.offset is None else self.offset[p : p + 1]
        return replace(
            self, data=self.data[p : p + 1], target=self.target[p : p + 1], penalty=self.penalty[k : k + 1],
            offset=offset, weight=None if self.weight is None else self.weight[p : p + 1],
        )  # fmt: skip

    def shifted_logits(self, point: Tensor) -> Tensor:
        """Logits (P, S, N, C)."""
        return self.logits(point) if self.offset is None else self.logits(point) + self.offset[:, None, None]

    def diagonal(self, point: Tensor) -> Tensor:
        """Approximate diagonal (P, S, C, R) of the Hessian, in principal axes."""
        likely = self.probabilities(self.shifted_logits(point))
        weight = self.weighted(likely * (1 - likely)).mean(2).unsqueeze(3)
        return (weight * self.data.square().mean(1)[:, None, None] + self.penalty).clamp_min(1e-12)

    def value_and_gradient(self, numbers: np.ndarray, scale: Tensor) -> tuple[float, np.ndarray]:
        """Objective and gradient of a single problem at a flat point in units of ``scale`` (1, 1, C, R)."""
        point = torch.from_numpy(numbers).view_as(scale) * scale
        logits = self.shifted_logits(point)
        value, gradient = self.value(logits, point), self.gradient(logits, point)
        return value.item(), (gradient * scale).flatten().numpy()

    def slopes(self, logits: Tensor, along: Tensor) -> tuple[Tensor, Tensor]:
        """First and second derivative (P, S) of the mean cross-entropy along a change of the logits."""
        p = self.probabilities(logits)
        first = self.weighted((p - self.target.unsqueeze(1)) * along).sum((2, 3))
        weighted = p * along
        if self.softmax:
            spread = (weighted * along).sum(3, keepdim=True) - weighted.sum(3, keepdim=True).square()
        else:
            spread = weighted * (1 - p) * along
        second = self.weighted(spread).sum((2, 3))
        return first / self.data.shape[1], second / self.data.shape[1]

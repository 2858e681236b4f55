"""Multinomial logistic regression on features, solved to convergence by L-BFGS."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from .lbfgs import solve_logistic_regressions
from .linear_head import LinearHead

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

LOGITS = 1 << 26
"""Most logits of regressions that are solved together: half a gigabyte in float64."""


def _logistic_regression(x: np.ndarray, y: np.ndarray, l2: float) -> LogisticRegression:
    from sklearn.linear_model import LogisticRegression

    c = math.inf if l2 == 0 else 1 / (l2 * len(x))
    return LogisticRegression(C=c, max_iter=1000).fit(x, y)


def _one_versus_rest(x: np.ndarray, y: np.ndarray, l2: float) -> tuple[np.ndarray, float]:
    if y.min() == y.max():
        return np.zeros(x.shape[1]), math.inf if y[0] else -math.inf
    model = _logistic_regression(x, y, l2)
    return model.coef_[0], float(model.intercept_[0])


def fit_logistic_regression(x: Tensor, y: Tensor, *, num_classes: int, task: str, l2: float) -> LinearHead:
    """Minimise mean cross-entropy + l2/2 ‖weight‖² with scikit-learn in float64.

    ``x`` (N, D); ``y`` (N,), or (N, L) in {0, 1} for ``multi-label``; one-vs-rest for ``binary`` and
    ``multi-label``. The bias is not penalised. Classes without a training row get probability 0.
    """
    data, target = x.double().cpu().numpy(), y.cpu().numpy()
    if task in ("binary", "multi-label"):
        columns = target[:, None] if task == "binary" else target
        fits = [_one_versus_rest(data, column, l2) for column in columns.T]
        weight = np.stack([w for w, _ in fits])
        bias = np.array([b for _, b in fits])
    else:
        weight, bias = np.zeros((num_classes, x.shape[1])), np.full(num_classes, -math.inf)
        classes = np.unique(target)
        if len(classes) == 1:
            bias[classes] = 0
        else:
            model = _logistic_regression(data, target, l2)
            two = len(classes) == 2
            # For two classes scikit-learn fits one logit, that of the second class.
            weight[classes] = np.stack([0 * model.coef_[0], model.coef_[0]]) if two else model.coef_
            bias[classes] = np.append(0, model.intercept_) if two else model.intercept_
    return LinearHead(torch.from_numpy(weight).to(x), torch.from_numpy(bias).to(x), task)


def fit_logistic_regressions(
    x: Sequence[Tensor], y: Sequence[Tensor], *, num_classes: int, task: str, strengths: Sequence[float]
) -> list[dict[float, LinearHead]]:
    """:func:`fit_logistic_regression` of problems of equal shape at every strength, heads by strength.

    On a GPU they are solved together, with a smaller tolerance than by scikit-learn on the CPU.
    """
    if x[0].is_cuda:
        return solve_in_parts(x, y, num_classes=num_classes, task=task, strengths=strengths)
    return [
        {l2: fit_logistic_regression(*pair, num_classes=num_classes, task=task, l2=l2) for l2 in strengths}
        for pair in zip(x, y, strict=True)
    ]


def solve_in_parts(
    x: Sequence[Tensor], y: Sequence[Tensor], *, num_classes: int, task: str, strengths: Sequence[float]
) -> list[dict[float, LinearHead]]:
    """:func:`fit_logistic_regressions` in torch, as many problems and strengths together as memory allows."""
    room = max(1, LOGITS // (len(x[0]) * num_classes))
    width = min(room, len(strengths))
    count = room // width
    heads: list[dict[float, LinearHead]] = [{} for _ in x]
    for first in range(0, len(x), count):
        features, labels = (torch.stack(list(part[first : first + count])) for part in (x, y))
        for low in range(0, len(strengths), width):
            own = list(strengths[low : low + width])
            weight, bias = solve_logistic_regressions(
                features, labels, torch.tensor(own, dtype=torch.float64).to(features.device),
                num_classes=num_classes, task=task,
            )  # fmt: skip
            for i, found in enumerate(heads[first : first + count]):
                found.update(
                    (l2, LinearHead(weight[i, k].to(features), bias[i, k].to(features), task))
                    for k, l2 in enumerate(own)
                )
    return heads

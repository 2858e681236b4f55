"""Logistic regressions solved to convergence, in float64: by SciPy on the CPU, many together on a GPU."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .lbfgs import GRADIENT, HISTORY, MOST_STEPS, minimize_together
from .linear_head import LinearHead
from .logistic_problem import Problem

LOWEST = -1e30
"""Logit of a class without training rows, for a probability of 0."""
NEGLIGIBLE = 1e-13
"""Variances below this share of the largest one are rounding errors."""
TOLERANCES = (1e-5, 1e-6, 1e-7, 1e-8)
"""On the CPU, tolerances for the gradient in scaled coordinates, until :data:`GRADIENT` is met."""
LOGITS = 1 << 26
"""Most logits of regressions that are solved together: half a gigabyte in float64."""


def fit_logistic_regressions(
    x: Sequence[Tensor],
    y: Sequence[Tensor],
    *,
    num_classes: int,
    task: str,
    strengths: Sequence[float],
    weights: Sequence[Tensor | None] = (),
) -> list[dict[float, LinearHead]]:
    """:func:`solve_logistic_regressions` of problems of equal shape, by strength."""
    room = max(1, LOGITS // (len(x[0]) * num_classes))
    # On the CPU each strength starts from the previous solution, so strengths are not separated.
    width = min(room, len(strengths)) if x[0].is_cuda else len(strengths)
    count = max(1, room // width)
    heads: list[dict[float, LinearHead]] = [{} for _ in x]
    for first in range(0, len(x), count):
        features, labels = (torch.stack(list(part[first : first + count])) for part in (x, y))
        own_weights = [one for one in weights[first : first + count] if one is not None]
        terms = torch.stack(own_weights) if own_weights else None
        for low in range(0, len(strengths), width):
            own = list(strengths[low : low + width])
            weight, bias = solve_logistic_regressions(
                features, labels, torch.tensor(own, dtype=torch.float64).to(features.device),
                num_classes=num_classes, task=task, weights=terms,
            )  # fmt: skip
            for i, found in enumerate(heads[first : first + count]):
                found.update(
                    (l2, LinearHead(weight[i, k].to(features), bias[i, k].to(features), task))
                    for k, l2 in enumerate(own)
                )
    return heads


def solve_logistic_regressions(
    x: Tensor, y: Tensor, strengths: Tensor, *, num_classes: int, task: str, weights: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Minimise mean cross-entropy + l2/2 ‖weight‖² for P problems at S strengths; weights (P, S, C, D).

    ``binary`` and ``multi-label`` are one-vs-rest. Biases (P, S, C) are not penalised, two classes have one
    logit, and classes without training rows have the bias -inf. On a GPU all problems and strengths are
    solved together with few host syncs; on the CPU one by one by SciPy, from the largest strength down, each
    from the solution before.

    Args:
        x: Features (P, N, D).
        y: Labels (P, N), or 0/1 (P, N, L) for ``multi-label``.
        strengths: l2 (S,), float64.
        num_classes: Number of classes, or of labels.
        task: ``'multi-class'``, ``'ordinal'``, ``'binary'`` or ``'multi-label'``.
        weights: Weights of the cross-entropy of each row or label, shaped as ``y``; None for equal weights.
    """
    terms = None if weights is None else weights.view(*weights.shape[:2], -1).double()

    def of(problems: list[int]) -> Tensor | None:
        return None if terms is None else terms[problems]

    if task in ("binary", "multi-label"):
        target = y.view(*y.shape[:2], -1).double()
        first = target[:, :1]
        # A column with a single label gets targets of 1/2, for which the zero initialisation is the minimum.
        constant = (target == first).all(1, keepdim=True)
        weight, bias = _solve(x, torch.where(constant, 0.5, target), strengths, softmax=False, terms=terms)
        return weight, torch.where(constant, torch.where(first > 0, math.inf, -math.inf), bias)
    target = torch.nn.functional.one_hot(y, num_classes).double()
    present = target.sum(1) > 0
    weight = x.new_zeros(len(x), len(strengths), num_classes, x.shape[2], dtype=torch.float64)
    bias = torch.where(present, 0.0, -math.inf).double().unsqueeze(1).repeat(1, len(strengths), 1)
    counts = present.sum(1).tolist()
    more = [i for i, count in enumerate(counts) if count > 2]
    if more:
        offset = torch.where(present[more], 0.0, LOWEST).double()
        weight[more], own = _solve(
            x[more], target[more], strengths, softmax=True, offset=offset, terms=of(more)
        )
        # A constant in all biases changes no probability.
        there = present[more].unsqueeze(1).double()
        bias[more] += own - (own * there).sum(2, keepdim=True) / there.sum(2, keepdim=True)
    two = [i for i, count in enumerate(counts) if count == 2]
    if two:
        second = num_classes - 1 - present[two].flip(1).int().argmax(1)
        column = target[two].gather(2, second.view(-1, 1, 1).expand(-1, x.shape[1], 1))
        own_weight, own = _solve(x[two], column, strengths, softmax=False, terms=of(two))
        rows = torch.tensor(two, device=x.device)
        weight[rows, :, second], bias[rows, :, second] = own_weight[:, :, 0], own[:, :, 0]
    return weight, bias


def _solve(
    x: Tensor,
    target: Tensor,
    strengths: Tensor,
    *,
    softmax: bool,
    offset: Tensor | None = None,
    terms: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Weights and biases for targets (P, N, C), with a constant (P, C) added to the logits.

    ``terms`` are the weights (P, N, 1) of the rows, or (P, N, C) of sigmoids.
    """
    data = x.double()
    mean = data.mean(1, keepdim=True)
    data = data - mean
    if data.shape[1] < data.shape[2]:
        # The minimum is in the span of the rows.
        basis = torch.linalg.qr(data.mT).Q
        data = data @ basis
    else:
        basis = torch.eye(data.shape[2]).to(data).expand(len(data), -1, -1)
    # In principal axes a diagonal scaling removes correlation and scale.
    spread, axes = torch.linalg.eigh(data.mT @ data / data.shape[1])
    if not x.is_cuda:  # where the shapes may depend on values
        kept = (spread > NEGLIGIBLE * spread.amax(1, keepdim=True)).any(0)
        kept[-1] = True
        spread, axes = spread[:, kept], axes[:, :, kept]
    basis, data = basis @ axes, data @ axes
    data = torch.cat([data, torch.ones_like(data[:, :, :1])], 2)
    penalty = torch.nn.functional.pad(strengths.view(-1, 1).expand(-1, spread.shape[1]), (0, 1))
    reach = 1 + mean.abs().amax(2)
    problem = Problem(data, target, penalty.unsqueeze(1), softmax, offset, terms)
    minimize = minimize_together if x.is_cuda else minimize_in_turn
    found = minimize(problem, reach, len(strengths))
    weight = found[..., :-1] @ basis.mT.unsqueeze(1)
    return weight, found[..., -1] - (weight * mean.unsqueeze(1)).sum(3)


def minimize_in_turn(problem: Problem, reach: Tensor, count: int) -> Tensor:
    """Minima (P, S, C, R) by SciPy, from the largest strength down, each from the solution before.

    Coordinates are scaled by the root of the Hessian's approximate diagonal at the start. The arguments are
    those of :func:`ssl_ext.evaluation.lbfgs.minimize_together`.
    """
    from scipy.optimize import minimize

    problems, _, size = problem.data.shape
    found = problem.data.new_zeros(problems, count, problem.target.shape[2], size)
    order = sorted(range(count), key=lambda k: -float(problem.penalty[k].amax()))
    for p in range(problems):
        point = found[:1, :1]
        for k in order:
            one = problem.single(p, k)
            scale = one.diagonal(point).rsqrt()
            start = (point / scale).flatten().numpy()
            for tolerance in TOLERANCES:
                result = minimize(
                    one.value_and_gradient, start, args=(scale,), jac=True, method="L-BFGS-B",
                    options=dict(
                        maxiter=MOST_STEPS, maxfun=2 * MOST_STEPS, maxcor=HISTORY,
                        gtol=tolerance, ftol=tolerance**2,
                    ),
                )  # fmt: skip
                start = result.x
                gradient = torch.from_numpy(result.jac).view_as(scale) / scale
                if float(gradient.norm() * reach[p]) <= GRADIENT:
                    break
            point = torch.from_numpy(start).view_as(scale) * scale
            found[p, k] = point[0, 0]
    return found

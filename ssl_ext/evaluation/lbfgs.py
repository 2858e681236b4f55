"""Batched logistic regression over problems and strengths, by L-BFGS in float64 with few host syncs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

HISTORY = 10
MOST_STEPS = 1000
CHECK_EVERY = 10
"""Steps between two checks for convergence of all problems, the only host syncs."""
SEARCHES = 3
"""Number of points of each line search."""
GRADIENT = 1e-5
"""Tolerance for the largest entry of the gradient at convergence."""
DECREASE = 1e-8
"""Tolerance for the predicted decrease at convergence, relative to the objective."""
LOWEST = -1e30
"""Logit of a class without training rows, for a probability of 0."""


def solve_logistic_regressions(
    x: Tensor, y: Tensor, strengths: Tensor, *, num_classes: int, task: str
) -> tuple[Tensor, Tensor]:
    """Minimise mean cross-entropy + l2/2 ‖weight‖² for P problems at S strengths; weights (P, S, C, D).

    Results and conventions are those of
    :func:`ssl_ext.evaluation.logistic_regression.fit_logistic_regression` for each: biases (P, S, C) are not
    penalised, two classes have one logit, and classes without training rows are never predicted.

    Args:
        x: Features (P, N, D).
        y: Labels (P, N), or 0/1 (P, N, L) for ``multi-label``.
        strengths: l2 (S,), float64.
        num_classes: Number of classes, or of labels.
        task: ``'multi-class'``, ``'ordinal'``, ``'binary'`` or ``'multi-label'``.
    """
    if task in ("binary", "multi-label"):
        target = y.view(*y.shape[:2], -1).double()
        first = target[:, :1]
        # With targets of one half, a column of equal labels is solved by the zeros of the initialisation.
        constant = (target == first).all(1, keepdim=True)
        weight, bias = _solve(x, torch.where(constant, 0.5, target), strengths, softmax=False)
        return weight, torch.where(constant, torch.where(first > 0, math.inf, -math.inf), bias)
    target = torch.nn.functional.one_hot(y, num_classes).double()
    present = target.sum(1) > 0
    weight = x.new_zeros(len(x), len(strengths), num_classes, x.shape[2], dtype=torch.float64)
    bias = torch.where(present, 0.0, -math.inf).double().unsqueeze(1).repeat(1, len(strengths), 1)
    counts = present.sum(1).tolist()
    more = [i for i, count in enumerate(counts) if count > 2]
    if more:
        offset = torch.where(present[more], 0.0, LOWEST).double()
        weight[more], own = _solve(x[more], target[more], strengths, softmax=True, offset=offset)
        bias[more] += own
    two = [i for i, count in enumerate(counts) if count == 2]
    if two:
        second = num_classes - 1 - present[two].flip(1).int().argmax(1)
        column = target[two].gather(2, second.view(-1, 1, 1).expand(-1, x.shape[1], 1))
        own_weight, own = _solve(x[two], column, strengths, softmax=False)
        rows = torch.tensor(two, device=x.device)
        weight[rows, :, second], bias[rows, :, second] = own_weight[:, :, 0], own[:, :, 0]
    return weight, bias


def _solve(
    x: Tensor, target: Tensor, strengths: Tensor, *, softmax: bool, offset: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Weights and biases for targets (P, N, C), with a constant (P, C) added to the logits."""
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
    basis, data = basis @ axes, data @ axes
    data = torch.cat([data, torch.ones_like(data[:, :, :1])], 2)
    penalty = torch.nn.functional.pad(strengths.view(-1, 1).expand(-1, spread.shape[1]), (0, 1))
    spread = torch.nn.functional.pad(spread.clamp_min(0), (0, 1), value=1.0).unsqueeze(1)
    curvature = spread / (target.shape[2] if softmax else 4) + penalty
    curvature = curvature.clamp_min(1e-12).unsqueeze(2)
    reach = 1 + mean.abs().amax(2)
    problem = _Problem(data, target, penalty.unsqueeze(1), softmax, offset)
    found = _minimize(problem, curvature, reach, len(strengths))
    weight = found[..., :-1] @ basis.mT.unsqueeze(1)
    return weight, found[..., -1] - (weight * mean.unsqueeze(1)).sum(3)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner products (P, S) of (P, S, C, R)."""
    return (a * b).sum((2, 3))


def _wide(numbers: Tensor) -> Tensor:
    """Reshape (P, S) to broadcast over (P, S, C, R)."""
    return numbers[:, :, None, None]


@dataclass(frozen=True)
class _Problem:
    """Objectives of P problems at S strengths, convex functions of (P, S, C, R).

    ``data`` (P, N, R), ``target`` (P, N, C), ``penalty`` (S, 1, R), ``offset`` (P, C).
    """

    data: Tensor
    target: Tensor
    penalty: Tensor
    softmax: bool
    offset: Tensor | None

    def logits(self, point: Tensor) -> Tensor:
        """Linear part (P, S, N, C) of the logits."""
        flat = torch.bmm(self.data, point.flatten(1, 2).mT)
        return flat.unflatten(2, point.shape[1:3]).transpose(1, 2)

    def probabilities(self, logits: Tensor) -> Tensor:
        return logits.softmax(3) if self.softmax else logits.sigmoid()

    def value(self, logits: Tensor, point: Tensor) -> Tensor:
        """Objective (P, S)."""
        each = torch.logsumexp(logits, 3) if self.softmax else torch.nn.functional.softplus(logits).sum(3)
        each = each - (self.target.unsqueeze(1) * logits).sum(3)
        return each.mean(2) + (self.penalty * point.square()).sum((2, 3)) / 2

    def gradient(self, logits: Tensor, point: Tensor) -> Tensor:
        error = self.probabilities(logits) - self.target.unsqueeze(1)
        flat = torch.bmm(error.transpose(1, 2).flatten(2).mT, self.data) / self.data.shape[1]
        return flat.view_as(point) + self.penalty * point

    def slopes(self, logits: Tensor, along: Tensor) -> tuple[Tensor, Tensor]:
        """First and second derivative (P, S) of the mean cross-entropy along a change of the logits."""
        p = self.probabilities(logits)
        first = ((p - self.target.unsqueeze(1)) * along).sum((2, 3))
        weighted = p * along
        if self.softmax:
            second = (weighted * along).sum((2, 3)) - weighted.sum(3).square().sum(2)
        else:
            second = (weighted * (1 - p) * along).sum((2, 3))
        return first / self.data.shape[1], second / self.data.shape[1]


def _minimize(problem: _Problem, curvature: Tensor, reach: Tensor, count: int) -> Tensor:
    """Minima (P, S, C, R); ``curvature`` (P, S, 1, R) approximates the diagonal of the Hessian."""
    problems, _, size = problem.data.shape
    point = problem.data.new_zeros(problems, count, problem.target.shape[2], size)
    logits = problem.logits(point)
    if problem.offset is not None:
        logits = logits + problem.offset[:, None, None]
    value, gradient = problem.value(logits, point), problem.gradient(logits, point)
    scale, start = torch.ones_like(value), torch.ones_like(value)
    done = torch.zeros_like(value, dtype=torch.bool)
    history: list[tuple[Tensor, Tensor, Tensor]] = []
    for step in range(MOST_STEPS):
        direction = -_times_inverse(gradient, history, _wide(scale) / curvature)
        slope = _dot(gradient, direction)
        steepest = gradient.norm(dim=(2, 3)) * reach
        flat = -slope <= DECREASE * value
        # Stop when the possible decrease is below the rounding error of the objective.
        done = done | (flat & (steepest <= GRADIENT)) | (-slope <= 1e-15 * value)
        if step % CHECK_EVERY == CHECK_EVERY - 1 and bool(done.all()):
            break
        along = problem.logits(direction)
        length, next_start = _search(problem, logits, point, along, direction, value, start)
        length = torch.where(done, 0.0, length)
        start = torch.where(length > 0, 1.0, next_start)
        moved = _wide(length) * direction
        point, logits = point + moved, logits + _wide(length) * along
        value, before = problem.value(logits, point), gradient
        gradient = problem.gradient(logits, point)
        change = gradient - before
        product = _dot(moved, change)
        useful = product > 1e-14 * moved.norm(dim=(2, 3)) * change.norm(dim=(2, 3))
        safe = torch.where(useful, product, 1.0)
        history = [*history, (moved, change, torch.where(useful, 1 / safe, 0.0))][-HISTORY:]
        curved = _dot(change, change / curvature)
        scale = torch.where(useful, safe / torch.where(useful, curved, 1.0), scale)
    return point


def _times_inverse(gradient: Tensor, history: list[tuple[Tensor, Tensor, Tensor]], first: Tensor) -> Tensor:
    """Product of L-BFGS's inverse Hessian with a gradient (Nocedal & Wright, Algorithm 7.4)."""
    result, factors = gradient, []
    for moved, change, inverse in reversed(history):
        factors.append(inverse * _dot(moved, result))
        result = result - _wide(factors[-1]) * change
    result = result * first
    for (moved, change, inverse), factor in zip(history, reversed(factors), strict=True):
        result = result + _wide(factor - inverse * _dot(change, result)) * moved
    return result


def _search(
    problem: _Problem, logits: Tensor, point: Tensor, along: Tensor, direction: Tensor, value: Tensor,
    start: Tensor,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Step lengths (P, S) by bracketed Newton's method, and initial lengths for a retry where they are 0.

    The logits are linear in the step length, so the search needs no matrix products.
    """
    inner = (problem.penalty * point * direction).sum((2, 3))
    square = (problem.penalty * direction.square()).sum((2, 3))
    low, high = torch.zeros_like(value), torch.full_like(value, math.inf)
    length = start
    for _ in range(SEARCHES):
        first, second = problem.slopes(logits + _wide(length) * along, along)
        first, second = first + inner + length * square, second + square
        # The objective is convex, so the sign of its slope gives the side of the minimum.
        low, high = torch.where(first <= 0, length, low), torch.where(first > 0, length, high)
        newton = length - first / second.clamp_min(1e-300)
        furthest = torch.where(high.isinf(), 10 * low, high)
        inside = (newton >= low) & (newton <= furthest)
        length = torch.where(inside, newton, torch.where(high.isinf(), furthest, (low + high) / 2))
    trial = problem.value(logits + _wide(length) * along, point + _wide(length) * direction)
    fallen = trial <= value * (1 + 1e-14)
    return torch.where(fallen, length, low), torch.where(high.isinf(), 1.0, high / 10)

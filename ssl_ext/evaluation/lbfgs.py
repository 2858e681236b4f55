"""L-BFGS in float64 for many logistic regressions together, with few host syncs."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ssl_ext.console import track

from .logistic_problem import Problem

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


def minimize_together(problem: Problem, reach: Tensor, count: int) -> Tensor:
    """Minima (P, S, C, R) at S = ``count`` strengths.

    ``reach`` (P, 1) bounds how much larger a gradient's entries are on the original features.
    """
    problems, _, size = problem.data.shape
    point = problem.data.new_zeros(problems, count, problem.target.shape[2], size)
    curvature = problem.diagonal(point)
    logits = problem.shifted_logits(point)
    value, gradient = problem.value(logits, point), problem.gradient(logits, point)
    scale, start = torch.ones_like(value), torch.ones_like(value)
    done = torch.zeros_like(value, dtype=torch.bool)
    history: list[tuple[Tensor, Tensor, Tensor]] = []
    for step in track(range(MOST_STEPS), "training", None, "iterations"):
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
    problem: Problem, logits: Tensor, point: Tensor, along: Tensor, direction: Tensor, value: Tensor,
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


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner products (P, S) of (P, S, C, R)."""
    return (a * b).sum((2, 3))


def _wide(numbers: Tensor) -> Tensor:
    """Reshape (P, S) to broadcast over (P, S, C, R)."""
    return numbers[:, :, None, None]

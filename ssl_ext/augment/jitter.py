"""Colour jitter with an order of its four operations drawn per sample."""

from collections.abc import Callable
from functools import lru_cache
from itertools import groupby, permutations

import torch
from torch import Tensor

from ssl_ext.augment.base import Augmentation, Params, Shape
from ssl_ext.augment.color import (
    brightness_,
    contrast_,
    grayscale,
    hue_,
    mean_grayscale,
    saturation_,
)
from ssl_ext.augment.sampling import bernoulli, check_probability, check_range, uniform

NAMES = ("brightness", "contrast", "saturation", "hue")
HUE = NAMES.index("hue")
Step = list[int | None]
Run = tuple[str, int, int]
ORDERS = tuple(permutations(range(4)))
"""The 24 orders; an order lists indices into (brightness, contrast, saturation, hue)."""

BLENDS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "brightness": brightness_,
    "contrast": contrast_,
    "saturation": saturation_,
}


# Hue, the dearest operation, runs once, for all samples together: between the steps before and the
# steps after it. Each step names, for every one of the 24 orders, the operation it does, if any.
BEFORE = [[o[k] if k < o.index(HUE) else None for o in ORDERS] for k in (0, 1, 2)]
AFTER = [[o[k] if k > o.index(HUE) else None for o in ORDERS] for k in (1, 2, 3)]


def _runs(step: Step) -> list[Run]:
    """Return the neighbouring orders that share an operation: (name, first, behind the last)."""
    runs = []
    for operation, group in groupby(range(len(step)), key=step.__getitem__):
        orders = list(group)
        if operation is not None:
            runs.append((NAMES[operation], orders[0], orders[-1] + 1))
    return runs


RUNS_BEFORE = [run for step in BEFORE for run in _runs(step)]
RUNS_AFTER = [run for step in AFTER for run in _runs(step)]


class ColorJitter(Augmentation):
    """Change brightness, contrast, saturation and hue, in random order, with probability ``p``.

    A number b for brightness, contrast or saturation means factors uniform in [max(0, 1 - b), 1 +
    b]; for hue, shifts uniform in [-hue, hue] turns, hue at most 0.5. A pair gives the range
    itself. Images have 3 channels, or 1, for which saturation and hue do nothing.

    Parameters drawn: ``active`` (N,), bool; ``order`` (N,), index into ``ORDERS``; of the
    operations that are on, ``brightness``, ``contrast``, ``saturation``, ``hue`` (N,).

    Raises ValueError for a range outside [0, inf), for hue outside [-0.5, 0.5], or p outside [0,
    1].

    >>> ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8)(torch.rand(4, 3, 8, 8)).shape
    torch.Size([4, 3, 8, 8])
    """

    channels = (1, 3)

    def __init__(
        self,
        brightness: float | tuple[float, float] = 0.0,
        contrast: float | tuple[float, float] = 0.0,
        saturation: float | tuple[float, float] = 0.0,
        hue: float | tuple[float, float] = 0.0,
        p: float = 1.0,
    ) -> None:
        super().__init__()
        ranges = {
            "brightness": _factor_range("brightness", brightness),
            "contrast": _factor_range("contrast", contrast),
            "saturation": _factor_range("saturation", saturation),
            "hue": _hue_range(hue),
        }
        neutral = {"hue": (0.0, 0.0)}
        self.ranges = {k: v for k, v in ranges.items() if v != neutral.get(k, (1.0, 1.0))}
        self.p = check_probability("ColorJitter.p", p)

    def _sample(self, shape: Shape, generator: torch.Generator | None, device: torch.device) -> Params:
        n = shape[0]
        params = {
            "active": bernoulli(n, self.p, generator, device),
            "order": torch.randint(len(ORDERS), (n,), generator=generator, device=device),
        }
        for name, (low, high) in self.ranges.items():
            params[name] = uniform(n, low, high, generator, device)
        return params

    def _transform_planes(self, planes: Tensor, params: Params) -> Tensor:
        if planes.shape[0] == 1:
            params = {k: v for k, v in params.items() if k not in ("saturation", "hue")}
        return jitter_grouped(planes, params) if planes.is_cpu else jitter_masked(planes, params)


def jitter_grouped(planes: Tensor, params: Params) -> Tensor:
    """Jitter on the CPU: samples sorted by order, so that operations act on contiguous runs."""
    order = torch.where(params["active"], params["order"], len(ORDERS))
    counts = torch.bincount(order, minlength=len(ORDERS) + 1)
    bounds = [0, *counts.cumsum(0).tolist()]
    rows = order.argsort()[: bounds[len(ORDERS)]]
    chosen = planes.index_select(1, rows)
    factors = {name: params[name][rows] for name in NAMES if name in params}

    def blend(steps: list[Run]) -> None:
        for name, first, end in steps:
            part = slice(bounds[first], bounds[end])
            if name in factors and part.start < part.stop:
                BLENDS[name](chosen[:, part], factors[name][part])

    blend(RUNS_BEFORE)
    if "hue" in factors:
        hue_(chosen, factors["hue"])
    blend(RUNS_AFTER)
    return planes.index_copy_(1, rows, chosen)


def jitter_masked(planes: Tensor, params: Params) -> Tensor:
    """Jitter on accelerators: all samples take every step, as the host cannot know group sizes.

    Brightness, contrast and saturation are one blend, ``target + factor (image - target)``, with
    the target black, the mean luminance or the luminance; a factor of 1 is a sample that sits the
    step out.
    """
    masks = _step_masks(planes.device)[:, :, params["order"]]
    result = planes.clone()
    for number, mask in enumerate(masks):
        if number == len(BEFORE) and "hue" in params:
            result = hue_(result, params["hue"])
        result = _blend_masked(result, dict(zip(BLENDS, mask, strict=True)), params)
    return torch.where(params["active"].view(1, -1, 1, 1), result, planes)


def _blend_masked(planes: Tensor, masks: dict[str, Tensor], params: Params) -> Tensor:
    factor = torch.ones_like(masks["contrast"], dtype=torch.float32)
    for name, mask in masks.items():
        if name in params:
            factor = torch.where(mask, params[name], factor)
    target = torch.zeros_like(planes[0])
    if "contrast" in params:
        target += torch.where(masks["contrast"], mean_grayscale(planes), 0).view(-1, 1, 1)
    if "saturation" in params:
        target += torch.where(masks["saturation"].view(-1, 1, 1), grayscale(planes), 0)
    return torch.lerp(target.expand_as(planes), planes, factor.view(-1, 1, 1)).clamp_(0, 1)


@lru_cache(maxsize=8)
def _step_masks(device: torch.device) -> Tensor:
    """Return whether a step (6) does a blend (3) in an order (24), kept on the device."""
    steps = torch.tensor([[-1 if o is None else o for o in step] for step in BEFORE + AFTER])
    blends = torch.tensor([NAMES.index(name) for name in BLENDS])
    return (steps.unsqueeze(1) == blends.view(1, -1, 1)).to(device)


def _factor_range(name: str, value: float | tuple[float, float]) -> tuple[float, float]:
    if isinstance(value, (int, float)):
        if value < 0:
            raise ValueError(f"ColorJitter.{name} must not be negative, got {value}")
        return max(0.0, 1.0 - value), 1.0 + value
    return check_range(f"ColorJitter.{name}", value, 0.0)


def _hue_range(value: float | tuple[float, float]) -> tuple[float, float]:
    if isinstance(value, (int, float)):
        if not 0 <= value <= 0.5:
            raise ValueError(f"ColorJitter.hue must be within [0, 0.5] turns, got {value}")
        return -float(value), float(value)
    return check_range("ColorJitter.hue", value, -0.5, 0.5)

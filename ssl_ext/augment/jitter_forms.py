"""Three implementations of batched colour jitter, each fastest for some device and batch size."""

from collections.abc import Callable
from functools import lru_cache
from itertools import groupby, permutations

import torch
from torch import Tensor

from ssl_ext.augment.base import Params
from ssl_ext.augment.color import brightness_, contrast_, grayscale, hue_, saturation_

FEW = 1 << 17
"""Number of pixels of a batch up to which ``jitter_sorted`` is faster on the CPU."""

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


# Hue, the most expensive operation, runs once for all samples, between the steps before and after it.
# Each step gives its operation, if any, for each of the 24 orders.
BEFORE = [[o[k] if k < o.index(HUE) else None for o in ORDERS] for k in (0, 1, 2)]
AFTER = [[o[k] if k > o.index(HUE) else None for o in ORDERS] for k in (1, 2, 3)]


def _runs(step: Step) -> list[Run]:
    """Return runs of consecutive orders with the same operation: (name, first, end)."""
    runs = []
    for operation, group in groupby(range(len(step)), key=step.__getitem__):
        orders = list(group)
        if operation is not None:
            runs.append((NAMES[operation], orders[0], orders[-1] + 1))
    return runs


RUNS_BEFORE = [run for step in BEFORE for run in _runs(step)]
RUNS_AFTER = [run for step in AFTER for run in _runs(step)]


def jitter_grouped(planes: Tensor, params: Params) -> Tensor:
    """Jitter large batches on the CPU: samples are sorted by order, so operations act on contiguous runs."""
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


def jitter_sorted(planes: Tensor, params: Params) -> Tensor:
    """Jitter small batches on the CPU: samples are sorted by the position of hue, and all take six blends."""
    place = _places(planes.device)[_orders(params)]
    bounds = torch.bincount(place, minlength=len(NAMES) + 1).cumsum(0).tolist()
    rows = place.argsort(stable=True)[: bounds[HUE]]
    chosen = planes.index_select(1, rows)
    own = {name: value[rows] for name, value in params.items()}
    blends = list(zip(*_blends(own), strict=True))
    # Sample i has hue at position p where bounds[p - 1] <= i < bounds[p]: p blends before it, 3 - p after it.
    for number, (factor, mean, gray) in enumerate(blends[:3]):
        part = slice(bounds[number], None)
        _blend_(chosen[:, part], factor[part], mean[part], gray[part])
    if "hue" in own:
        hue_(chosen, own["hue"])
    for number, (factor, mean, gray) in enumerate(blends[3:]):
        part = slice(bounds[number])
        _blend_(chosen[:, part], factor[part], mean[part], gray[part])
    return planes.index_copy_(1, rows, chosen)


def masked_steps(
    planes: Tensor, blends: tuple[Tensor, Tensor, Tensor], hue: Tensor | None, active: Tensor
) -> Tensor:
    """Take all steps for all samples, then select the active ones.

    ``torch.compile`` makes 16 kernels of the 85 operations on images. No table is made inside, which would be
    copied from the host.
    """
    result = planes.clone()
    for number, blend in enumerate(zip(*blends, strict=True)):
        if number == len(BEFORE) and hue is not None:
            hue_(result, hue)
        _blend_(result, *blend)
    return torch.where(active.view(1, -1, 1, 1), result, planes)


def jitter_masked(planes: Tensor, params: Params, steps: Callable[..., Tensor] = masked_steps) -> Tensor:
    """Jitter on accelerators: all samples take all steps, which avoids a host sync."""
    return steps(planes, _blends(params), params.get("hue"), params["active"])


def _orders(params: Params) -> Tensor:
    """Return the order of each sample (N,), ``len(ORDERS)`` for inactive samples."""
    return torch.where(params["active"], params["order"], len(ORDERS))


def _blends(params: Params) -> tuple[Tensor, Tensor, Tensor]:
    """Return the weights (6, N) of the image, its mean luminance and its luminance in each step.

    Brightness, contrast and saturation are one blend: ``factor image + (1 - factor) target``, where the
    target is black, the mean luminance or the luminance. A factor of 1 does not change the sample.
    """
    kinds = _kinds(params["order"].device)[:, _orders(params)]
    neutral = torch.ones_like(params["order"], dtype=torch.float32)
    factors = torch.stack([*(params.get(name, neutral) for name in BLENDS), neutral]).gather(0, kinds)
    rest = 1 - factors
    return factors, rest * (kinds == NAMES.index("contrast")), rest * (kinds == NAMES.index("saturation"))


def _blend_(planes: Tensor, factor: Tensor, mean: Tensor, gray: Tensor) -> None:
    luminance = grayscale(planes)
    offset = (luminance.mean((1, 2)) * mean).view(-1, 1, 1)
    offset = torch.addcmul(offset, luminance, gray.view(-1, 1, 1))
    planes.mul_(factor.view(-1, 1, 1)).add_(offset).clamp_(0, 1)


@lru_cache(maxsize=8)
def _places(device: torch.device) -> Tensor:
    """Return the position of hue in each of the 24 orders, and 4 for inactive samples."""
    return torch.tensor([*(order.index(HUE) for order in ORDERS), len(NAMES)]).to(device)


@lru_cache(maxsize=8)
def _kinds(device: torch.device) -> Tensor:
    """Return the blend (6, 25) of each step for the 24 orders and for inactive samples; 3 is no blend."""
    nothing = len(BLENDS)
    steps = [[nothing if o is None else o for o in step] + [nothing] for step in BEFORE + AFTER]
    return torch.tensor(steps).to(device)

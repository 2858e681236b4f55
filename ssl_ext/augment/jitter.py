"""Colour jitter; the order of its four operations is drawn per sample."""

from typing import Any

import torch
from torch import Tensor

from ssl_ext.augment.base import Augmentation, Params, Shape
from ssl_ext.augment.jitter_forms import (
    FEW,
    ORDERS,
    jitter_grouped,
    jitter_masked,
    jitter_sorted,
    masked_steps,
)
from ssl_ext.augment.sampling import check_probability, check_range, spread, whole


class ColorJitter(Augmentation):
    """Change brightness, contrast, saturation and hue, in random order, with probability ``p``.

    A number b for brightness, contrast or saturation means factors uniform in [max(0, 1 - b), 1 +
    b]; for hue, shifts uniform in [-hue, hue] turns, hue at most 0.5. A pair gives the range
    itself. Images have 1 or 3 channels; saturation and hue do not change 1 channel.

    Parameters drawn: ``active`` (N,), bool; ``order`` (N,), index into ``ORDERS``; and, for enabled
    operations, ``brightness``, ``contrast``, ``saturation``, ``hue`` (N,).

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
        self.draws = 2 + len(self.ranges)
        self.p = check_probability("ColorJitter.p", p)
        self._steps = masked_steps

    def compile_steps(self, **settings: Any) -> None:
        """Compile the arithmetic for accelerators; ``settings`` are those of ``torch.compile``.

        A GPU uses it for images above 32 pixels, which do not fit the kernel of :mod:`ssl_ext.augment.fused`.
        """
        self._steps = torch.compile(masked_steps, **settings)

    def numbers(self, n: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
        """Return random numbers (draws, n); on the CPU the orders are drawn as integers."""
        if device.type != "cpu":
            return super().numbers(n, generator, device)
        active = torch.rand((1, n), generator=generator)
        order = torch.randint(len(ORDERS), (1, n), generator=generator)
        factors = torch.rand((self.draws - 2, n), generator=generator)
        return torch.cat((active, (order + 0.5) / len(ORDERS), factors))

    def _params(self, numbers: Tensor, shape: Shape) -> Params:
        params = {"active": numbers[0] < self.p, "order": whole(numbers[1], len(ORDERS))}
        for number, (name, bounds) in zip(numbers[2:], self.ranges.items(), strict=True):
            params[name] = spread(number, *bounds)
        return params

    def _transform_planes(self, planes: Tensor, params: Params) -> Tensor:
        if planes.shape[0] == 1:
            params = {k: v for k, v in params.items() if k not in ("saturation", "hue")}
        if not planes.is_cpu:
            return jitter_masked(planes, params, self._steps)
        return (jitter_sorted if planes[0].numel() <= FEW else jitter_grouped)(planes, params)


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

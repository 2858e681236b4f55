"""Scaling of grey values of more than 8 bits to 0..255."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

INTENSITIES = ("window", "full", "minmax", "percentile")
PERCENTILES = (0.5, 99.5)
# A file that uses less than this part of its range has probably fewer bits than it is written with.
DARK = 1 / 8

Intensity = str | tuple[float, float]
Limits = tuple[float, float]


def check_intensity(intensity: Intensity) -> Intensity:
    """Return a name of :data:`INTENSITIES`, or a pair of increasing numbers as a tuple.

    Raises:
        ValueError: anything else.
    """
    if isinstance(intensity, str) and intensity in INTENSITIES:
        return intensity
    if isinstance(intensity, (list, tuple)) and len(intensity) == 2:
        low, high = intensity
        if all(isinstance(value, (int, float)) for value in (low, high)) and low < high:
            return float(low), float(high)
    names = ", ".join(map(repr, INTENSITIES))
    raise ValueError(f"dataset.intensity must be {names} or (low, high) with low < high, got {intensity!r}")


@dataclass(frozen=True)
class Grey:
    """Grey values (H, W) of a file.

    ``full``: range of the file's format, None if unknown. ``bits``: of a stored value. ``signed``: stored
    values can be negative. ``window``: computes the values by the file's own lookup table or window, in
    [0, 1]. ``inverted``: the smallest value is white.
    """

    values: np.ndarray
    full: Limits | None
    bits: int = 16
    signed: bool = False
    window: Callable[[], np.ndarray] | None = None
    inverted: bool = False

    def to_8_bit(self, intensity: Intensity) -> np.ndarray:
        """Scale to uint8; see FileDataset for ``intensity``.

        Raises:
            ValueError: values that are not finite; or the full range is needed, and unknown or exceeded.
        """
        if bad := int(np.count_nonzero(~np.isfinite(self.values))):
            raise ValueError(f"{bad} of {self.values.size} grey values are NaN or infinite")
        constant = False
        if intensity == "window" and self.window:
            share = np.clip(self.window(), 0, 1)
        else:
            low, high = self._limits(intensity)
            # A constant image becomes black, also if inverted.
            constant = low == high and bool((self.values == low).all())
            share = np.clip((self.values - low) / max(high - low, 1e-12), 0, 1)
        if self.inverted and not constant:
            share = 1 - share
        return np.rint(255 * share).astype(np.uint8)

    def _limits(self, intensity: Intensity) -> Limits:
        if not isinstance(intensity, str):
            return intensity
        if intensity == "minmax":
            return float(self.values.min()), float(self.values.max())
        if intensity == "percentile":
            low, high = np.percentile(self.values, PERCENTILES)
            return float(low), float(high)
        if self.full is None:
            raise ValueError(
                "floating-point grey values have no known range: give dataset.intensity, 'minmax', "
                "'percentile' or (low, high)"
            )
        low, high = self.values.min(), self.values.max()
        if low < self.full[0] or high > self.full[1]:
            raise ValueError(
                f"grey values from {low:g} to {high:g} exceed 16 bits: give dataset.intensity, 'minmax', "
                "'percentile' or (low, high)"
            )
        return self.full

    def used(self, intensity: Intensity) -> Limits | None:
        """Lowest and highest used part of the full range, in [0, 1]; None unless it is scaled to 0..255."""
        unwindowed = intensity == "window" and not self.window
        if self.full is None or self.bits <= 8 or not (unwindowed or intensity == "full"):
            return None
        low, high = self.full
        ends = [float((value - low) / (high - low)) for value in (self.values.min(), self.values.max())]
        return ends[0] if self.signed else 0.0, ends[1]

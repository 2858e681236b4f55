"""Type checks of config values; booleans are not numbers, and NaN is not a number."""

import math
from typing import Any


def is_number(value: Any) -> bool:
    """Return True for a finite int or float, but not for a bool.

    >>> is_number(0.5), is_number(True), is_number(float("nan"))
    (True, False, False)
    """
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def is_count(value: Any, least: int = 1) -> bool:
    """Return True for an int of at least ``least``, but not for a bool.

    >>> is_count(3), is_count(0), is_count(True), is_count(2.0)
    (True, False, False, False)
    """
    return isinstance(value, int) and not isinstance(value, bool) and value >= least

"""What a setting's value is: Python counts True and False as whole numbers, and nan as a number."""

import math
from typing import Any


def is_number(value: Any) -> bool:
    """Whether it is a finite number.

    >>> is_number(0.5), is_number(True), is_number(float("nan"))
    (True, False, False)
    """
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def is_count(value: Any, least: int = 1) -> bool:
    """Whether it is a whole number of at least ``least``.

    >>> is_count(3), is_count(0), is_count(True), is_count(2.0)
    (True, False, False, False)
    """
    return isinstance(value, int) and not isinstance(value, bool) and value >= least

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


def check_positive(section: str, **values: float) -> None:
    """Raise ValueError for a value that is not above 0.

    >>> check_positive("model.head", temperature=-1)
    Traceback (most recent call last):
    ValueError: model.head.temperature is -1; it must be above 0.
    """
    for key, value in values.items():
        if not 0 < value < math.inf:
            raise ValueError(f"{section}.{key} is {value}; it must be above 0.")


def check_not_negative(section: str, **values: float) -> None:
    """Raise ValueError for a negative value."""
    for key, value in values.items():
        if not 0 <= value < math.inf:
            raise ValueError(f"{section}.{key} is {value}; it must be 0 or more.")


def check_at_least(section: str, least: int, **values: int) -> None:
    """Raise ValueError for a value that is not an integer of at least ``least``."""
    for key, value in values.items():
        if not is_count(value, least):
            raise ValueError(f"{section}.{key} is {value!r}; it must be at least {least}.")

"""Parameters from uniform random numbers, and checks of arguments."""

from torch import Tensor


def spread(numbers: Tensor, low: float, high: float) -> Tensor:
    """Return numbers uniform in [low, high) from ``numbers`` uniform in [0, 1), which are overwritten."""
    return numbers.mul_(high - low).add_(low)


def whole(numbers: Tensor, count: Tensor | int) -> Tensor:
    """Return integers uniform in 0 … count - 1 from numbers uniform in [0, 1); counts are at least 1."""
    # The product may round up to the count itself.
    return (numbers * count).long().clamp(max=count - 1)


def check_probability(name: str, p: float) -> float:
    """Return p; ValueError unless it is in [0, 1]."""
    if not 0 <= p <= 1:
        raise ValueError(f"{name} must be a probability in [0, 1], got {p}")
    return float(p)


def check_range(
    name: str, value: tuple[float, float], low: float, high: float = float("inf")
) -> tuple[float, float]:
    """Return the pair; ValueError unless low <= value[0] <= value[1] <= high."""
    if len(value) != 2 or not low <= value[0] <= value[1] <= high:
        raise ValueError(f"{name} must be a pair (smallest, largest) within [{low}, {high}], got {value}")
    return float(value[0]), float(value[1])


def check_size(name: str, size: int | tuple[int, int]) -> tuple[int, int]:
    """Return (height, width) of an int or a pair; ValueError unless both are positive integers."""
    pair = (size, size) if isinstance(size, int) else tuple(size)
    if len(pair) != 2 or not all(isinstance(side, int) and side > 0 for side in pair):
        raise ValueError(f"{name} must be a positive integer or a pair (height, width), got {size}")
    return pair[0], pair[1]

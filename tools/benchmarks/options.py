"""Command-line options shared by benchmarks, without heavy imports."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

CONFIGS = Path(__file__).parents[2] / "configs"
MIN_PAIRS = 5


def whole(minimum: int) -> Callable[[str], int]:
    """Argparse type for integers of at least ``minimum``."""

    def number(word: str) -> int:
        value = int(word)
        if value < minimum:
            raise argparse.ArgumentTypeError(f"must be at least {minimum}, got {value}")
        return value

    return number


def add_numbers(parser: argparse.ArgumentParser, *options: tuple, pairs: int | None = MIN_PAIRS) -> None:
    """Add integer options (name, default, help and optional minimum, default 1), then ``--pairs``."""
    if pairs:
        options += (("pairs", pairs, f"interleaved rounds, at least {MIN_PAIRS}", MIN_PAIRS),)
    for name, default, text, *minimum in options:
        text = f"{text} ({default})".strip()
        parser.add_argument(f"--{name}", type=whole(*minimum or [1]), default=default, help=text)

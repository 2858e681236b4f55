"""The grid of a sweep, parsed from command-line arguments."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ssl_ext.config.options import parse_options, split_commas
from ssl_ext.errors import UserError

MAX_NAME = 200
NOT_SWEPT = {"work_dir": "--work-dir", "randomness.seed": "--seeds"}


@dataclass(frozen=True)
class Axis:
    """Config keys that share a value, and the values, as text."""

    keys: tuple[str, ...]
    values: tuple[str, ...]

    @property
    def name(self) -> str:
        """The keys, joined by ``+``."""
        return "+".join(self.keys)

    @property
    def label(self) -> str:
        """The last part of each key, for tables and figures."""
        return "+".join(key.rpartition(".")[2] for key in self.keys)


@dataclass(frozen=True)
class Setting:
    """One point of the grid: the value of each axis, and the seed of the run."""

    values: tuple[tuple[str, str], ...]
    seed: int

    @property
    def options(self) -> list[str]:
        """``key=value`` for every key of every axis."""
        return [f"{key}={value}" for name, value in self.values for key in name.split("+")]

    @property
    def folder(self) -> str:
        """A folder name with the setting; characters not allowed in file names become ``-``."""
        name = ",".join([*(f"{axis}={value}" for axis, value in self.values), f"seed={self.seed}"])
        plain = re.sub(r"[^\w.,=+()\[\]-]", "-", name)
        if plain == name and len(name) <= MAX_NAME:
            return name
        return f"{plain[:MAX_NAME]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def parse_axis(text: str) -> Axis:
    """Read ``key=a,b,c``, or ``key1+key2=a,b,c`` for keys that take the same value.

    Commas inside brackets or quotes belong to a value.

    Raises:
        UserError: No key, no value, an empty or repeated value, or a key that is not swept.

    >>> parse_axis("model.neck.hid_channels+model.neck.out_channels=128,256").values
    ('128', '256')
    >>> parse_axis("views.0.transforms.0.scale=(0.2,1),(0.5,1)").values
    ('(0.2,1)', '(0.5,1)')
    """
    name, equals, values_text = text.partition("=")
    keys, values = tuple(name.split("+")), tuple(split_commas(values_text))
    if not equals or not all(keys) or not all(values):
        raise UserError(f"'{text}' is not of the form key=a,b,c (or key1+key2=a,b,c).")
    if len(set(values)) < len(values):
        raise UserError(f"'{text}' has a value twice.")
    for key in keys:
        if key in NOT_SWEPT:
            raise UserError(f"{key} cannot be swept; use {NOT_SWEPT[key]}.")
    return Axis(keys, values)


def settings_of(axes: Sequence[Axis], seeds: Sequence[int]) -> list[Setting]:
    """Every combination of values, the last axis changing fastest, with every seed.

    Raises:
        UserError: No seed, a seed twice, or a key on two axes.
    """
    if not axes:
        raise UserError("Nothing to sweep: give at least one key=a,b,c.")
    keys = [key for axis in axes for key in axis.keys]
    if twice := sorted({key for key in keys if keys.count(key) > 1}):
        raise UserError(f"{twice[0]} is swept twice.")
    if not seeds or len(set(seeds)) < len(seeds):
        raise UserError(f"--seeds {list(seeds)}: give at least one seed, each once.")
    names = [axis.name for axis in axes]
    return [
        Setting(tuple(zip(names, values, strict=True)), seed)
        for values in itertools.product(*(axis.values for axis in axes))
        for seed in seeds
    ]


def value_of(text: str) -> Any:
    """A value as a config holds it.

    >>> value_of("64"), value_of("1e-3"), value_of("cosine")
    (64, 0.001, 'cosine')
    """
    return parse_options([f"value={text}"])["value"]

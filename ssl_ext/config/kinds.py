"""Types of known config keys, checked before anything is built."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from mmengine.config import Config

from ssl_ext.errors import UserError
from ssl_ext.values import is_count, is_number

# Upper bound of sizes, counts and numbers of steps.
TOO_LARGE = 2**31


class Kind(NamedTuple):
    """A type of value: its description and its test."""

    words: str
    fits: Callable[[Any], bool]


def _is_list(value: Any, fits: Callable[[Any], bool]) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and all(map(fits, value))


def _is_built(value: Any) -> bool:
    return isinstance(value, Mapping) and "type" in value


def _or_none(kind: Kind) -> Kind:
    return Kind(f"{kind.words}, or None", lambda value: value is None or kind.fits(value))


DICT = Kind("a dict", lambda value: isinstance(value, Mapping))
BUILT = Kind("a dict with the key type", _is_built)
LIST = Kind("a list of dicts", lambda value: _is_list(value, DICT.fits))
BUILT_LIST = Kind("a list of dicts with the key type", lambda value: _is_list(value, _is_built))
BUILT_OR_LIST = Kind(
    "a dict with the key type, or a list of them", lambda v: _is_built(v) or BUILT_LIST.fits(v)
)
NUMBERS = Kind("a list of numbers", lambda value: _is_list(value, is_number))
RATE = Kind("a number of at least 0", lambda value: is_number(value) and value >= 0)
COUNT = Kind("a whole number of at least 1", is_count)
WORKERS = Kind("a whole number of at least 0", lambda value: value == 0 or is_count(value))
INTERVAL = Kind("a whole number of at least 1, or -1 for never", lambda v: v == -1 or is_count(v))
SEED = _or_none(Kind("a whole number from 0 to 2**32 - 1", lambda v: type(v) is int and 0 <= v < 2**32))
SWITCH = Kind("True or False", lambda value: isinstance(value, bool))
COMPILE = Kind(
    "True, False or a dict of torch.compile's arguments", lambda v: SWITCH.fits(v) or isinstance(v, Mapping)
)
CAPTURE = Kind('"auto", True, False or "dry"', lambda v: SWITCH.fits(v) or v in ("auto", "dry"))
PATH = Kind("a path", lambda value: isinstance(value, (str, os.PathLike)))
NAME = Kind("the name of a class, or a class", lambda value: isinstance(value, str) or callable(value))

KINDS = {
    "model": BUILT,
    "model.backbone": BUILT,
    "model.head": _or_none(BUILT),
    "model.neck": _or_none(BUILT_OR_LIST),
    "data_preprocessor": DICT,
    "data_preprocessor.mean": NUMBERS,
    "data_preprocessor.std": NUMBERS,
    "views": LIST,
    "views.*.transforms": BUILT_LIST,
    "train_dataloader": _or_none(DICT),
    "train_dataloader.dataset": BUILT,
    "train_dataloader.sampler": BUILT,
    "train_dataloader.collate_fn": BUILT,
    "train_dataloader.batch_size": COUNT,
    "train_dataloader.num_workers": WORKERS,
    "train_dataloader.drop_last": SWITCH,
    "evaluation_dataset": _or_none(BUILT),
    "evaluation": DICT,
    "evaluation.batch_size": COUNT,
    "evaluation.num_workers": WORKERS,
    "optim_wrapper": _or_none(DICT),
    "optim_wrapper.optimizer": BUILT,
    "optim_wrapper.optimizer.lr": RATE,
    "optim_wrapper.accumulative_counts": COUNT,
    "auto_scale_lr": DICT,
    "auto_scale_lr.base_batch_size": COUNT,
    "auto_scale_lr.enable": SWITCH,
    "param_scheduler": _or_none(BUILT_OR_LIST),
    "train_cfg": _or_none(DICT),
    "train_cfg.by_epoch": SWITCH,
    "train_cfg.max_epochs": COUNT,
    "train_cfg.max_iters": COUNT,
    "default_hooks": _or_none(DICT),
    "default_hooks.*": _or_none(BUILT),
    "custom_hooks": _or_none(BUILT_LIST),
    "default_hooks.*.interval": INTERVAL,
    "custom_hooks.*.interval": INTERVAL,
    "visualizer": _or_none(BUILT),
    "visualizer.vis_backends": BUILT_LIST,
    "randomness": DICT,
    "randomness.seed": SEED,
    "randomness.deterministic": SWITCH,
    "env_cfg": DICT,
    "activation_checkpointing": SWITCH,
    "channels_last": SWITCH,
    "compile": COMPILE,
    "captured_step": CAPTURE,
    "work_dir": PATH,
    "**.data_root": PATH,
    "**.type": NAME,
}


def check_kinds(config: Config) -> None:
    """Validate the types of known config keys; other keys are not checked.

    Raises:
        UserError: A value of the wrong type, NaN, or a whole number above 2**31.
    """
    for key, value in walk(config.to_dict()):
        kind = _kind_of(key)
        if kind and not kind.fits(value):
            raise UserError(f"The config has {key}={short(value)}; it must be {kind.words}.")
        if isinstance(value, float) and math.isnan(value):
            raise UserError(f"The config has {key}=nan; it must be a number.")
        if kind is not SEED and type(value) is int and abs(value) > TOO_LARGE:
            raise UserError(f"The config has {key}={value}; no size or count may exceed {TOO_LARGE}.")


def walk(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every dotted key with its value; a container comes before its items."""
    if key:
        yield key, node
    if isinstance(node, Mapping):
        pairs: Iterator[tuple[Any, Any]] = iter(node.items())
    elif isinstance(node, (list, tuple)):
        pairs = enumerate(node)
    else:
        return
    for name, value in pairs:
        yield from walk(value, f"{key}.{name}" if key else str(name))


def short(value: Any) -> str:
    """A value in at most 103 characters."""
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}..."


@lru_cache(maxsize=4096)
def _kind_of(key: str) -> Kind | None:
    return next((kind for pattern, kind in PATTERNS.items() if pattern.fullmatch(key)), None)


def _pattern(key: str) -> re.Pattern:
    """Regular expression of a key: ``**`` matches any number of names, ``*`` one."""
    parts = {"**": r".+", "*": r"[^.]+"}
    return re.compile(r"\.".join(parts.get(part) or re.escape(part) for part in key.split(".")))


PATTERNS = {_pattern(key): kind for key, kind in KINDS.items()}

"""Known top-level config keys, and errors for misspelt ones."""

from __future__ import annotations

import inspect
from collections.abc import Iterable

from mmengine.config import Config
from mmengine.runner import Runner

from ssl_ext.errors import UserError

from .kinds import KINDS, walk

# Read by MMEngine's config loader and MMPretrain's tools.
OTHERS = {"auto_scale_lr", "custom_imports", "env_cfg", "find_unused_parameters"}
KNOWN = (
    {name for name in inspect.signature(Runner.__init__).parameters if name not in ("self", "cfg")}
    | {key.partition(".")[0] for key in KINDS if not key.startswith("*")}
    | {"init", "views"}
    | OTHERS
)


def check_file_keys(config: Config) -> None:
    """Raise UserError for an unknown top-level key that is similar to a known one.

    Other names are accepted as helper variables.
    """
    for key in config:
        if key in KNOWN or key.startswith("_"):
            continue
        if near := near_key(key, KNOWN):
            raise UserError(f"The config has the unknown key {key}; did you mean {near}?")


def check_option_keys(config: Config, options: Iterable[str]) -> None:
    """Raise UserError for an override whose top-level key is unknown and not in the config."""
    known = KNOWN | set(config)
    for key in options:
        first = key.partition(".")[0]
        if first not in known:
            deeper = [k for k, _ in walk(config.to_dict()) if k.endswith(f".{key}")]
            close = near_key(first, known)
            near = min(deeper, key=_place) if deeper else close and close + key[len(first) :]
            raise UserError(
                f"--cfg-options {key}: the key {first} is unknown; "
                + (
                    f"did you mean {near}?"
                    if near
                    else "give the whole key, such as train_cfg.max_epochs=10."
                )
            )


def _place(key: str) -> tuple[bool, int]:
    """Sort key for keys with the same last name: training keys first, then by length."""
    return key.startswith("evaluation."), len(key)


def near_key(key: str, known: Iterable[str]) -> str | None:
    """Return the most similar known name, or None.

    A name is similar to a known name within two edits (one edit for known names of less than six letters).
    """
    near = min(sorted(known), key=lambda name: _edits(key, name))
    return near if _edits(key, near) <= (2 if len(near) >= 6 else 1) else None


def _edits(first: str, second: str) -> int:
    """Edit distance with insertions, deletions, substitutions and swaps of neighbouring letters.

    >>> _edits("modle", "model"), _edits("train_dataloder", "train_dataloader")
    (1, 1)
    """
    before: list[int] = []
    row = list(range(len(second) + 1))
    for i, letter in enumerate(first, 1):
        above, row = row, [i]
        for j, other in enumerate(second, 1):
            best = min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == second[j - 2] and first[i - 2] == other:
                best = min(best, before[j - 2] + 1)
            row.append(best)
        before = above
    return row[-1]

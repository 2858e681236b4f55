"""Titles of panels, lines and bars."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ssl_ext.config.stored import stored_training
from ssl_ext.engine.weights.checkpoint import stored_meta
from ssl_ext.errors import UserError
from ssl_ext.exporting.classifier import classifier_name
from ssl_ext.files import distinct_names

FORMATS = {"method": "{}", "seed": "seed {}", "epoch": "epoch {}"}


def path_titles(paths: Sequence[str | os.PathLike], titles: Sequence[str] | None) -> list[str]:
    """Return the given titles, or the distinctive parts of the paths.

    Raises:
        UserError: The titles are not as many different texts as there are paths.
    """
    if titles is None:
        return distinct_names(paths)
    if len(titles) != len(paths) or len(set(titles)) < len(titles):
        raise UserError(f"--titles {' '.join(map(repr, titles))}: give {len(paths)} different titles.")
    return list(titles)


def checkpoint_titles(paths: Sequence[str | os.PathLike], titles: Sequence[str] | None) -> list[str]:
    """Return the given titles, or describe each checkpoint by the method, seed and epoch that differ.

    A single checkpoint is described by all three. Classifiers are described by their training. If
    descriptions are equal, the distinctive parts of the paths are returned.

    Raises:
        UserError: The titles are not as many different texts as there are paths.
    """
    names = [name.removesuffix(".pth") for name in path_titles(paths, titles)]
    if titles is not None:
        return names
    known = [stored_training(stored_meta(path)) for path in paths]
    texts = [[form.format(one.get(key, "?")) for key, form in FORMATS.items()] for one in known]
    shown_alone = len(paths) == 1 and not any("?" in text for text in texts[0])
    differing = [shown_alone or len(set(column)) > 1 for column in zip(*texts, strict=True)]
    words = [
        classifier_name(path) or ", ".join(text for text, shown in zip(row, differing, strict=True) if shown)
        for path, row in zip(paths, texts, strict=True)
    ]
    return words if all(words) and len(set(words)) == len(words) else names

"""The figure of a confusion matrix."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ssl_ext.apis.evaluate.data import load_data
from ssl_ext.apis.evaluate.networks import Networks
from ssl_ext.apis.evaluate.plan import Labels, Measurement
from ssl_ext.apis.evaluate.protocols import Protocols
from ssl_ext.config.load import load_config
from ssl_ext.config.networks import choose_device
from ssl_ext.config.recipes import read_recipes
from ssl_ext.errors import UserError, user_errors
from ssl_ext.evaluation import ResultRow, read_results
from ssl_ext.visualization import confusion_heatmap

from .images import class_names

# Protocols from a checkpoint, and the kind of their measurement.
PROTOCOLS = {"knn": "knn", "linear": "frozen"}


def confusion_figure(
    sources: Sequence[str | os.PathLike],
    *,
    protocol: str | None = None,
    which: str = "last",
    seed: int = 0,
    options: dict | None = None,
) -> Figure:
    """Confusion matrix of a result file or of a checkpoint.

    Args:
        sources: One ``results.json``, of which the first row that fits is drawn; or a config and a
            checkpoint, which is evaluated on all labels.
        protocol: Of the row; from a checkpoint ``'knn'`` (the default) or ``'linear'``.
        which: ``'last'`` epoch, or the ``'best'`` one (chosen on validation data).
        seed: Of held-out rows and probe, with a checkpoint.
        options: Config keys to override, with a checkpoint.

    Raises:
        UserError: Bad input, or no row with a confusion matrix.
    """
    if len(sources) == 1:
        if options:
            raise UserError("--cfg-options belong to a config and a checkpoint, not to a results.json.")
        row = _row_with_confusion(sources[0], protocol, which)
        matrix = getattr(row, which)["confusion"]
        classes = row.source.get("classes") or [str(index) for index in range(len(matrix))]
        metrics, words = getattr(row, which), f"{row.method}, {row.protocol}"
    elif len(sources) == 2:
        config, checkpoint = sources
        metrics, classes, words = _evaluated(config, checkpoint, protocol or "knn", which, seed, options)
        matrix = metrics.get("confusion")
        if matrix is None:
            raise UserError("evaluation_dataset has several labels per image or too many classes to confuse.")
    else:
        raise UserError("Give a results.json, or a config and a checkpoint.")
    with user_errors("confusion"):
        return confusion_heatmap(matrix, classes, title=f"{words}: {100 * metrics['acc']:.2f} % right")


def _row_with_confusion(path: str | os.PathLike, protocol: str | None, which: str) -> ResultRow:
    rows = [row for row in read_results(path) if "confusion" in getattr(row, which)]
    fitting = [row for row in rows if protocol in (None, row.protocol)]
    if not fitting:
        found = ", ".join(dict.fromkeys(row.protocol for row in rows)) or "none"
        raise UserError(
            f"'{path}' has no confusion matrix{f' of {protocol}' if protocol else ''}; protocols that have "
            f"one: {found}."
        )
    return fitting[0]


def _evaluated(
    config: str | os.PathLike,
    checkpoint: str | os.PathLike,
    protocol: str,
    which: str,
    seed: int,
    options: dict | None,
) -> tuple[dict[str, Any], list[str], str]:
    """Metrics of a checkpoint, class names, and words for a title."""
    if protocol not in PROTOCOLS:
        raise UserError(f"--protocol is {protocol!r}; from a checkpoint there are {', '.join(PROTOCOLS)}.")
    loaded = load_config(config, options, required=("model", "evaluation_dataset"))
    recipes = read_recipes(loaded)
    networks = Networks(
        loaded, checkpoint, seed=0, device=choose_device(), allow_partial=False, precision=recipes.precision
    )
    cache_dir = Path(checkpoint).parent / "evaluation" / "features"
    data = load_data({None: loaded}, networks.main, cache_dir, (seed,))
    method = str(loaded.model.type)
    measurement = Measurement(method, protocol, PROTOCOLS[protocol], Labels(seed))
    outcome = Protocols({None: recipes}, networks, data).measure(measurement).outcome
    words = f"{method}, {'kNN' if protocol == 'knn' else protocol}"
    return getattr(outcome, which), class_names(data[None].splits.train), words

"""The figure of a confusion matrix."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from ssl_ext.apis.evaluate.data import load_data
from ssl_ext.apis.evaluate.networks import Networks
from ssl_ext.apis.evaluate.plan import Labels, Measurement
from ssl_ext.apis.evaluate.protocols import Protocols
from ssl_ext.config.load import load_config
from ssl_ext.config.networks import choose_device
from ssl_ext.config.recipes import read_recipes
from ssl_ext.errors import UserError, user_errors
from ssl_ext.evaluation import Condition, ResultRow, Stat, read_results
from ssl_ext.evaluation.identity import data_name, dataset_name, varied
from ssl_ext.evaluation.tables import repeats
from ssl_ext.visualization import confusion_heatmap

from .images import class_names

# Protocols from a checkpoint, and the kind of their measurement.
PROTOCOLS = {"knn": "knn", "linear": "frozen"}
# Fields of a result row that choose a measurement.
KEYS = ("method", *Condition._fields, "seed", "draw")


class Drawn(NamedTuple):
    """Counts (C, C), the names of the C classes, and the title of a figure."""

    matrix: list[list[int]]
    classes: Sequence[str]
    title: str


def confusion_figure(
    sources: Sequence[str | os.PathLike],
    *,
    protocol: str | None = None,
    which: str = "last",
    seed: int | None = None,
    where: Sequence[str] = (),
    options: dict | None = None,
) -> Figure:
    """Confusion matrix of a result file or of a checkpoint.

    Args:
        sources: One ``results.json``, of which one measurement is drawn, summed over its seeds and draws;
            or a config and a checkpoint, which is evaluated on all labels.
        protocol: Of the measurement; from a checkpoint ``'knn'`` (the default) or ``'linear'``.
        which: ``'last'`` epoch, or the ``'best'`` one (chosen on validation data).
        seed: Rows of this seed alone (default: all seeds); with a checkpoint the seed of held-out rows and
            probe (default 0).
        where: ``key=value`` with a key of :data:`KEYS`, to choose among the measurements of a result file.
        options: Config keys to override, with a checkpoint.

    Raises:
        UserError: Bad input, or none or several measurements with a confusion matrix.
    """
    if len(sources) == 1:
        if options:
            raise UserError("--cfg-options belong to a config and a checkpoint, not to a results.json.")
        wanted = dict(_wanted(text) for text in where)
        wanted |= {} if protocol is None else {"protocol": protocol}
        wanted |= {} if seed is None else {"seed": str(seed)}
        drawn = _of_results(sources[0], wanted, which)
    elif len(sources) == 2:
        if where:
            raise UserError("--where belongs to a results.json, not to a config and a checkpoint.")
        config, checkpoint = sources
        drawn = _evaluated(config, checkpoint, protocol or "knn", which, seed or 0, options)
    else:
        raise UserError("Give a results.json, or a config and a checkpoint.")
    with user_errors("confusion"):
        return confusion_heatmap(drawn.matrix, drawn.classes, title=drawn.title)


def _wanted(text: str) -> tuple[str, str]:
    key, mark, value = text.partition("=")
    if key not in KEYS or not mark:
        raise UserError(f"--where {text}: give KEY=VALUE with a KEY of {', '.join(KEYS)}.")
    return key, value


def _of_results(path: str | os.PathLike, wanted: Mapping[str, str], which: str) -> Drawn:
    """The sum over the repeats of the only measurement that fits."""
    rows = [row for row in read_results(path) if {"confusion", "acc"} <= getattr(row, which).keys()]
    found = {
        (name, condition): members
        for name, cells in repeats(rows).items()
        for condition, members in cells.items()
    }
    fitting = {}
    for (name, condition), members in found.items():
        if kept := [row for row in members if _fits(row, name, wanted)]:
            fitting[name, condition] = kept
    if len(fitting) != 1:
        asked = ", ".join(f"{key}={value}" for key, value in wanted.items())
        listed = [_words(*key, members) for key, members in (fitting or found).items()]
        raise UserError(
            f"'{path}' has {len(fitting) or 'no'} confusion matrices{f' with {asked}' if asked else ''}: "
            f"{'; '.join(listed) or 'none at all'}. Choose one by --where KEY=VALUE; keys: {', '.join(KEYS)} "
            "(None: not used)."
        )
    (((name, condition), members),) = fitting.items()
    metrics = [getattr(row, which) for row in members]
    if len({len(one["confusion"]) for one in metrics}) > 1:
        raise UserError(f"'{path}': the confusion matrices of one measurement have different sizes.")
    matrix = np.sum([one["confusion"] for one in metrics], axis=0).tolist()
    repeated = f"sum over {varied(members)}" if len(members) > 1 else f"seed {members[0].seed}"
    return Drawn(
        matrix,
        members[0].source.get("classes") or [str(index) for index in range(len(matrix))],
        f"{_words(name, condition, members)}\n{which} epoch, {repeated}: "
        f"{Stat.of([one['acc'] for one in metrics]).text('acc')} % right",
    )


def _names(row: ResultRow, name: str) -> tuple[str, str]:
    """The method of a row, and its name among methods that are called alike: ``'SimCLR (1)'``."""
    return row.method, f"{name} (1)" if name == row.method else name


def _fits(row: ResultRow, name: str, wanted: Mapping[str, str]) -> bool:
    return all(
        value in (_names(row, name) if key == "method" else (str(getattr(row, key)),))
        for key, value in wanted.items()
    )


def _words(name: str, condition: Condition, rows: Sequence[ResultRow]) -> str:
    return f"{name} on {data_name(rows[0])}, {condition.words}"


def _evaluated(
    config: str | os.PathLike,
    checkpoint: str | os.PathLike,
    protocol: str,
    which: str,
    seed: int,
    options: dict | None,
) -> Drawn:
    """The matrix of a checkpoint, measured with one seed."""
    if protocol not in PROTOCOLS:
        raise UserError(f"--protocol is {protocol!r}; from a checkpoint there are {', '.join(PROTOCOLS)}.")
    loaded = load_config(config, options, required=("model", "evaluation_dataset"))
    recipes = read_recipes(loaded)
    networks = Networks(loaded, checkpoint, seed=0, device=choose_device(), precision=recipes.precision)
    cache_dir = Path(checkpoint).parent / "evaluation" / "features"
    data = load_data({None: loaded}, networks.main, cache_dir, (seed,))
    method = str(loaded.model.type)
    measurement = Measurement(method, protocol, PROTOCOLS[protocol], Labels(seed))
    metrics = getattr(Protocols({None: recipes}, networks, data).measure(measurement).outcome, which)
    if "confusion" not in metrics:
        raise UserError("evaluation_dataset has several labels per image or too many classes to confuse.")
    return Drawn(
        metrics["confusion"],
        class_names(data[None].splits.train),
        f"{method} on {dataset_name(loaded.evaluation_dataset)}, {Condition(protocol).words}\n"
        f"{which} epoch, seed {seed}: {100 * metrics['acc']:.2f} % right",
    )

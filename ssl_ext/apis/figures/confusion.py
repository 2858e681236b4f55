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
from ssl_ext.config.stored import method_name
from ssl_ext.errors import UserError, user_errors
from ssl_ext.evaluation import Condition, Stat, read_results
from ssl_ext.evaluation.identity import dataset_name, varied
from ssl_ext.evaluation.metrics import CONFUSION_UP_TO, confusion_counts
from ssl_ext.visualization import confusion_heatmap

from .choice import choose, conditions
from .images import class_names

# Protocols from a checkpoint, and the kind of their measurement.
PROTOCOLS = {"knn": "knn", "linear": "frozen"}


class Drawn(NamedTuple):
    """Counts (C, C), or (L, 2, 2) of labels, the names of the classes, and the title of a figure."""

    matrix: list
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
    """Confusion matrix of a result file or of a checkpoint; with several labels per image, of each label.

    Args:
        sources: One ``results.json``, of which one measurement is drawn, summed over its seeds and draws;
            or a config and a checkpoint, which is evaluated on all labels.
        protocol: Protocol of the measurement; for a checkpoint ``'knn'`` (the default) or ``'linear'``.
        which: ``'last'`` epoch, or the ``'best'`` one (chosen on validation data).
        seed: Rows of this seed only (default: all seeds); for a checkpoint the seed of held-out rows and
            probe (default 0).
        where: ``key=value`` with a key of :data:`.choice.KEYS`, to select one measurement of a result file.
        options: Config keys to override, for a checkpoint.

    Raises:
        UserError: Bad input, or none or several measurements with a confusion matrix.
    """
    if len(sources) == 1:
        if options:
            raise UserError("--cfg-options apply to a config and a checkpoint, not to a results.json.")
        wanted = conditions(where)
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


def _of_results(path: str | os.PathLike, wanted: Mapping[str, str], which: str) -> Drawn:
    """Sum the matrices of all repeats of the only matching measurement."""
    rows = [
        row
        for row in read_results(path)
        if confusion_counts(getattr(row, which)) and "acc" in getattr(row, which)
    ]
    words, members = choose(path, rows, wanted, "confusion matrices")
    metrics = [getattr(row, which) for row in members]
    matrices = [np.array(confusion_counts(one)) for one in metrics]
    if len({one.shape for one in matrices}) > 1:
        raise UserError(f"'{path}': the confusion matrices of one measurement have different sizes.")
    matrix = np.sum(matrices, axis=0).tolist()
    repeated = f"sum over {varied(members)}" if len(members) > 1 else f"seed {members[0].seed}"
    return Drawn(
        matrix,
        members[0].source.get("classes") or [str(index) for index in range(len(matrix))],
        f"{words}\n{which} epoch, {repeated}: "
        f"{Stat.of([one['acc'] for one in metrics]).text('acc')} {_correct(matrix)}",
    )


def _evaluated(
    config: str | os.PathLike,
    checkpoint: str | os.PathLike,
    protocol: str,
    which: str,
    seed: int,
    options: dict | None,
) -> Drawn:
    """Compute the confusion matrix of a checkpoint with one seed."""
    if protocol not in PROTOCOLS:
        raise UserError(f"--protocol is {protocol!r}; from a checkpoint there are {', '.join(PROTOCOLS)}.")
    loaded = load_config(config, options, required=("model", "evaluation_dataset"))
    recipes = read_recipes(loaded)
    networks = Networks(loaded, checkpoint, seed=0, device=choose_device(), precision=recipes.precision)
    cache_dir = Path(checkpoint).parent / "evaluation" / "features"
    data = load_data({None: loaded}, networks.main, cache_dir, (seed,))
    method = method_name(loaded.model)
    measurement = Measurement(method, protocol, PROTOCOLS[protocol], Labels(seed))
    metrics = getattr(Protocols({None: recipes}, networks, data).measure(measurement).outcome, which)
    if (matrix := confusion_counts(metrics)) is None:
        raise UserError(f"evaluation_dataset has more than {CONFUSION_UP_TO} classes or labels.")
    return Drawn(
        matrix,
        class_names(data[None].splits.train),
        f"{method} on {dataset_name(loaded.evaluation_dataset)}, {Condition(protocol).words}\n"
        f"{which} epoch, seed {seed}: {100 * metrics['acc']:.2f} {_correct(matrix)}",
    )


def _correct(matrix: list) -> str:
    return "% of labels correct" if np.ndim(matrix) == 3 else "% correct"

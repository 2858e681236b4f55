"""Training and evaluation in a few lines of Python: ``from ssl_ext import pretrain, evaluate, load``."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmengine.config import Config
from rich.console import Console

from ssl_ext.config.load import load_config
from ssl_ext.config.own_config import own_config
from ssl_ext.config.stored import BACKBONE_ALONE, config_of_checkpoint, stored_training
from ssl_ext.config.training import run_folder
from ssl_ext.engine import checkpoint_of
from ssl_ext.engine.weights.checkpoint import stored_meta
from ssl_ext.engine.weights.files import read_weights
from ssl_ext.errors import UserError
from ssl_ext.evaluation import ResultRow, results_tables
from ssl_ext.exporting.classifier import classifier_name
from ssl_ext.exporting.loading import record
from ssl_ext.names import DEFAULT_PROTOCOLS
from ssl_ext.registry import registered_only
from ssl_ext.visualization import read_scalars

from .evaluate.run import evaluate as evaluate_config
from .pretrain import pretrain as train_config

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Run(os.PathLike):
    """A finished training, which every function accepts as the path of its checkpoint."""

    work_dir: Path
    checkpoint: Path

    @property
    def curve(self) -> list[dict[str, Any]]:
        """Logged numbers in the order of training: ``step``, ``epoch``, ``loss`` and others."""
        return read_scalars(self.work_dir)

    @property
    def metrics(self) -> dict[str, Any]:
        """Last value of every logged number."""
        return {key: value for logged in self.curve for key, value in logged.items()}

    def plot(self, keys: Sequence[str] | None = None) -> Figure:
        """Draw logged numbers (default: the loss and its terms), as ``ssl-ext visualize curves``."""
        from .figures import curves_figure

        return curves_figure([self.work_dir], keys=keys)

    def __fspath__(self) -> str:
        return str(self.checkpoint)


class Results(list[ResultRow]):
    """Result rows, printed as the table of ``ssl-ext evaluate``."""

    def __repr__(self) -> str:
        text = io.StringIO()
        # In a notebook rich would display the table in colour instead of writing it.
        console = Console(
            file=text, width=150, markup=False, emoji=False, force_jupyter=False, force_terminal=False
        )
        for table in results_tables(self) if self else ():
            console.print(table)
        return text.getvalue().rstrip() or "no results"


def pretrain(
    config: Config | str | os.PathLike,
    data: str | os.PathLike | None = None,
    *,
    epochs: int | None = None,
    work_dir: str | os.PathLike | None = None,
    options: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Run:
    """Train as ``ssl-ext train``: with the same checks, and the same config for a user's images.

    Args:
        config: A config, the path of one, or with ``data`` also a method, such as ``"trimix"``.
        data: Folder of images (with or without class folders), ``.npz`` or ``.csv`` file.
        epochs: Number of epochs, at which the learning-rate schedules end; default the config's.
        work_dir: Folder of the run; default ``work_dirs/<config name>``.
        options: Config keys to override, as ``{"optim_wrapper.optimizer.lr": 1e-4}``.
        **settings: Further arguments of :func:`ssl_ext.apis.pretrain`, such as ``resume``, ``overwrite``,
            ``init``, ``seed``.

    Returns:
        The run, with its work dir, its newest checkpoint and its logged numbers.

    Raises:
        UserError: Bad input, before any training.
    """
    if data is not None:
        if isinstance(config, Config):
            raise UserError("data is for a method or the path of a config; a Config names its own images.")
        start = {key: settings[key] for key in ("resume", "overwrite") if key in settings}
        config = own_config(os.fspath(config), data, work_dir, epochs=epochs, **start)
    loaded = load_config(config, dict(options or {}))
    folder = Path(run_folder(loaded, work_dir))
    train_config(config, options=dict(options or {}), epochs=epochs, work_dir=folder, **settings)
    return Run(folder, checkpoint_of(folder))


def evaluate(
    run: str | os.PathLike,
    protocols: Sequence[str] = DEFAULT_PROTOCOLS,
    *,
    config: Config | str | os.PathLike | None = None,
    **settings: Any,
) -> Results:
    """Evaluate as ``ssl-ext evaluate``, which writes the same rows to ``results.json``.

    Args:
        run: Result of :func:`pretrain`, work dir (its newest checkpoint) or checkpoint.
        protocols: Names of protocols.
        config: Default: the config in the checkpoint, of which nothing is run; without its head, neck and
            predictor if one of them has a class of your own that has not been imported.
        **settings: Further arguments of :func:`ssl_ext.apis.evaluate`, such as ``labels_per_class``,
            ``baselines``, ``seeds``, ``out_dir``.

    Raises:
        UserError: Bad input, before features are computed.
    """
    path = checkpoint_of(run)
    if config is not None:
        return Results(evaluate_config(config, path, protocols=protocols, **settings))
    stored = config_of_checkpoint(path, {"meta": record(path, read_weights(path))}, data=True)
    if stored.model.type == BACKBONE_ALONE and not classifier_name(path):
        about = stored_training(stored_meta(path))
        settings.setdefault("method", about.get("method"))
    beside = sorted(path.parent.glob("*.py"))
    named = Config(stored.to_dict(), filename=str(beside[0]) if len(beside) == 1 else None)
    with registered_only():
        return Results(evaluate_config(named, path, protocols=protocols, **settings))

"""Evaluate a checkpoint: from a request to one table of results."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import get_world_size
from mmengine.logging import print_log

from ssl_ext.config.load import load_config
from ssl_ext.config.networks import choose_device
from ssl_ext.config.recipes import read_recipes
from ssl_ext.config.stored import method_name
from ssl_ext.console import clock, progress
from ssl_ext.engine import init_process_group
from ssl_ext.errors import UserError, user_errors
from ssl_ext.evaluation import Balance, ResultRow, Unfinished
from ssl_ext.evaluation.balance import KEY
from ssl_ext.exporting.classifier import classifier_name
from ssl_ext.names import DEFAULT_PROTOCOLS

from .checks import check_groups, check_recipes, check_unlabelled
from .data import EvaluationData, load_data
from .files import NETWORKS, SavedNetworks, read_earlier, state_files
from .networks import Networks, finished_checkpoint
from .plan import Measurement, count_words, plan
from .protocols import Protocols
from .request import Request
from .rows import ResultRows


def evaluate(
    config: Config | str | os.PathLike,
    checkpoint: str | os.PathLike | None,
    *,
    protocols: Sequence[str] = DEFAULT_PROTOCOLS,
    labels_per_class: Sequence[int] = (),
    budgets: Sequence[int | str] = (),
    fractions: Sequence[float] = (),
    transfer_to: Sequence[Config | str | os.PathLike] = (),
    modes: Sequence[str] = ("frozen",),
    draws: int = 5,
    baselines: Sequence[str] = (),
    seeds: Sequence[int] = (0,),
    by: str = "image",
    out_dir: str | os.PathLike | None = None,
    device: str | torch.device | None = None,
    allow_partial: bool = False,
    dry_run: bool = False,
    method: str | None = None,
    recipes: Sequence[str] = (),
    options: dict | None = None,
    ema: bool = False,
    save: bool | str | os.PathLike = False,
    save_which: str = "best",
    balance: str | Sequence[float] | None = None,
    resume: bool = False,
) -> list[ResultRow]:
    """Evaluate a checkpoint, and baselines, on ``config.evaluation_dataset``.

    Without it (no labels) ``quality`` alone can be measured, on the training images.

    Protocols, with their recipes in ``config.evaluation``:

    - ``knn`` (recipe ``knn``), ``linear`` (``linear``), ``cluster`` (``cluster``): on frozen features.
      Every image passes the backbone once; features are cached in ``out_dir/features``. With
      ``config.evaluation.precision="bfloat16"`` (default ``"float32"``) features are computed in that
      precision, and the settings of each row state their relative error on a batch of test images.
    - ``quality`` (``quality``): label-free measures (:func:`ssl_ext.evaluation.quality_figures`) on all
      training images, and on ``views`` random views (pretraining's first view) of ``images`` of them.
    - ``linear-aug`` (``linear_aug``): a linear layer on augmented images through the frozen backbone.
    - ``finetune`` (``finetune``): the whole network on all labels; ``semi``: on ``fractions`` of each
      class's labels, one draw per seed.
    - ``budget``: on ``budgets`` labels, drawn in proportion to the classes (recipe ``linear`` if frozen,
      ``finetune`` if unfrozen).
    - ``transfer``: on all labels of the data sets of ``transfer_to`` (``linear``, ``finetune``), whose
      images are normalised with pretraining's mean and std. For few labels of another data set,
      evaluate the checkpoint with a config of that data set.
    - ``supervised``: training from random weights with the recipe ``finetune``, on all labels and on every
      other set of labels that is measured.

    Labels are drawn from the whole train split. Hyperparameters (k, l2, epoch) are selected on the
    validation split, never on the reported split. Without a validation split, they are selected on a tenth
    of the training images that were not drawn; if all were drawn, a tenth is held out for the selection and
    the reported network or probe is retrained on all images.

    Args:
        config: A config, or the path of a config file.
        checkpoint: Weights to evaluate: a file, or a work dir (its newest checkpoint); None for a randomly
            initialised network. A file of ``save`` gives its trained network.
        protocols: Names of protocols.
        labels_per_class: Numbers of labels per class for additional linear probes (frozen) and fine-tuned
            networks (unfrozen).
        budgets: Numbers of labels, or ``'all'``; default 100, 250, 1000, all.
        fractions: Fractions of each class's labels, in (0, 1]; default 0.01, 0.1, 1.
        transfer_to: Configs with ``evaluation_dataset``.
        modes: ``'frozen'`` and/or ``'unfrozen'`` backbone, for few labels, ``budget`` and ``transfer``.
        draws: Label draws per seed for ``budgets`` and ``labels_per_class``.
        baselines: ``'pixels'`` (raw pixels as features) and ``'untrained'`` (the network at random
            initialisation), both for protocols on features; ``'supervised'`` (like the protocol, but on
            all labels only beside ``finetune``).
        seeds: Seeds of held-out rows, label draws, initialisation, order of training images and random
            networks; every protocol is repeated for each.
        by: ``'image'``, or ``'group'``: numbers and fractions of labels count groups (patients, lesions,
            slides), which are drawn whole; the data set must have groups.
        out_dir: Default: ``evaluation`` beside the checkpoint.
        device: Default: CUDA if available.
        allow_partial: Accept a checkpoint that lacks tensors of the backbone, or has more layers.
        dry_run: Log the plan, a line for each measurement, and stop before any data is loaded.
        method: Name of the checkpoint's rows (default: :func:`.method_name`), which may then be of
            another method.
        recipes: Names in :data:`ssl_ext.names.RECIPES`; protocols that train are measured with each of
            them. Default: this project's recipes, with the changes in ``config.evaluation``.
        options: Config keys to override.
        ema: Load the EMA weights of the file (``state_dict_ema``) instead of the raw weights.
        save: Keep every trained classifier (:func:`ssl_ext.exporting.load_classifier`) in this folder, or
            with True in ``out_dir/networks``; ``saved`` of the rows are their paths.
        save_which: Epoch of the kept classifiers, ``'best'`` on validation or ``'last'``.
        balance: How classifiers are trained on unequal classes, a name in :data:`ssl_ext.names.BALANCES` or
            a weight for each class (:class:`ssl_ext.evaluation.Balance`); default:
            ``config.evaluation.balance``. Rows and tables name it.
        resume: Keep rows in ``out_dir`` that were measured with this config, weights and data (with ``save``:
            whose classifier is still there), and resume a killed training of a classifier from its last
            state, saved every minute at the end of an epoch (in one process; ``cost`` is that of the last).

    Returns:
        One row for each method, protocol, seed and draw. They are also written to
        ``out_dir/results.json``, after every measurement, and the drawn rows to ``subsets.npz``. Rows of
        other measurements that are already in the file are kept.

    Raises:
        UserError: Bad input; settings are checked before features are computed.
    """
    options = {**(options or {}), **({} if balance is None else {KEY: balance})}
    config = load_config(config, options, required=("model",))
    if checkpoint is not None:
        checkpoint = finished_checkpoint(checkpoint)
    named = None if checkpoint is None else method or classifier_name(checkpoint) or method_name(config.model)
    balances = read_recipes(config).balance
    request = Request(
        named, protocols, labels_per_class, budgets, fractions, transfer_to, modes, draws, baselines, seeds,
        by, recipes, balances,
    )  # fmt: skip
    if config.get("evaluation_dataset") is None:
        check_unlabelled(config, request)
    settings = {name: read_recipes(config, name) for name in (None, *request.recipes)}
    configs = {None: config, **_load_targets(request)}
    measurements = plan(request)
    check_recipes(settings, measurements)
    folder = _out_dir(config, checkpoint, out_dir)
    earlier = read_earlier(folder)
    if dry_run:
        lines = [f"{count_words(measurements)}:", *(one.words for one in measurements)]
        print_log("\n  ".join(lines), logger="current")
        return []

    init_process_group()
    device = choose_device(device)
    kept = None
    if save:
        kept = SavedNetworks(folder / NETWORKS if save is True else Path(save), save_which, config)
    table = ResultRows(config, folder, device, earlier, kept)
    networks = Networks(
        config,
        checkpoint,
        seed=request.seeds[0],
        device=device,
        allow_partial=allow_partial,
        ema=ema,
        precision=settings[None].precision,
        renamed=method is not None,
    )
    if kept:
        kept.announce(measurements, networks.main)
    with progress("reading the data"):
        data = load_data(configs, networks.main, folder / "features", request.seeds)
    if request.by_group:
        check_groups(data[None].splits)
    _check_balance(balances, data)
    if "cluster" in request.protocols and data[None].task["task"] == "multi-label":
        raise UserError(
            "The protocol cluster needs one class per image, but evaluation_dataset has several labels."
        )

    def about(one: Measurement) -> dict[str, Any]:
        return {**table.about, **networks.source(one), **table.content(data[one.target])}

    def unfinished(one: Measurement) -> Unfinished | None:
        return state_files(folder, one, about(one), resume) if get_world_size() == 1 else None

    measure = Protocols(settings, networks, data, measurements, save_which, unfinished).measure
    print_log(count_words(measurements), logger="current")
    left = ""
    for number, one in enumerate(measurements, 1):
        if not (resume and table.take(one, about(one), settings[one.recipe].names[one.recipe_key])):
            with progress(f"{number} of {len(measurements)}{left}: {one.words}"):
                table.add(one, measure(one))
        if state := unfinished(one):
            state.remove()
        if one.trains_network:
            others = sum(other.trains_network for other in measurements[number:])
            left = f", about {clock(others * table.rows[-1].cost['wall_s'])} left"
    return table.rows


def _check_balance(balance: Balance | None, data: dict[str | None, EvaluationData]) -> None:
    for one in data.values():
        if balance is not None:
            with user_errors(one.key):
                balance.check(**one.task)


def _load_targets(request: Request) -> dict[str | None, Config]:
    """The configs of ``--transfer-to`` by the names of their data sets."""
    targets: dict[str | None, Config] = {}
    for name, source in request.targets.items():
        targets[name] = load_config(source)
        if targets[name].get("evaluation_dataset") is None:
            raise UserError(f"--transfer-to {name}: this config lacks evaluation_dataset.")
    return targets


def _out_dir(config: Config, checkpoint: Any, out_dir: Any) -> Path:
    if out_dir is not None:
        if Path(out_dir).exists() and not Path(out_dir).is_dir():
            raise UserError(f"--out '{out_dir}' is a file; give a folder.")
        return Path(out_dir)
    if checkpoint is not None:
        return Path(checkpoint).parent / "evaluation"
    name = Path(config.filename).stem if config.filename else "run"
    return Path(config.get("work_dir") or Path("work_dirs") / name) / "evaluation"

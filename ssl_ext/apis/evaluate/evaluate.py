"""From a config and a checkpoint to one table of results."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import print_log

from ssl_ext.config.build import load_config
from ssl_ext.config.networks import Embedding, check_images, random_network
from ssl_ext.engine import init_process_group, load_weights
from ssl_ext.errors import UserError
from ssl_ext.evaluation import ResultRow, file_hash
from ssl_ext.names import DEFAULT_PROTOCOLS

from .data import EvaluationData, SeededData
from .protocols import Protocols, Subject
from .rows import ResultRows
from .settings import Request, read_recipes

FEW_TEST_IMAGES = 100


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
    out_dir: str | os.PathLike | None = None,
    device: str | torch.device | None = None,
    allow_partial: bool = False,
    options: dict | None = None,
) -> list[ResultRow]:
    """Evaluate a checkpoint, and baselines, on ``config.evaluation_dataset``.

    Protocols, with their recipes in ``config.evaluation``:

    - ``knn`` (recipe ``knn``), ``linear`` (``linear``), ``cluster`` (``cluster``): on frozen features,
      for which every image passes the backbone once; they are kept under ``out_dir/features``.
    - ``linear-aug`` (``linear_aug``): a linear layer on augmented images through the frozen backbone.
    - ``finetune`` (``finetune``): the whole network on all labels; ``semi``: on ``fractions`` of each
      class's labels, one draw a seed.
    - ``budget``: on ``budgets`` of labels drawn at random (``few_labels`` where frozen,
      ``few_labels_finetune`` where unfrozen; ``'all'`` is ``linear`` and ``finetune``).
    - ``transfer``: on all labels of the data sets of ``transfer_to`` (``linear``, ``finetune``), whose
      images are normalised with pretraining's mean and std. For few labels of another data set
      evaluate the checkpoint with a config of that set.
    - ``supervised``: the network from random weights, on all labels and on every other set of labels
      asked for, with the recipe of the fine-tuned network.

    A choice (k, l2, epoch) falls on validation data, never on what is reported. Validation labels are
    no part of a budget: they are the validation split, or where the set has none a tenth of the
    training rows, which nothing but the final fits of ``knn`` and ``linear`` is trained on.

    Args:
        config: A config, or the path of a config file.
        checkpoint: Weights to evaluate; None for a randomly initialised network.
        protocols: Which of the above.
        labels_per_class: Also on this many labels of each class: linear probes (frozen) and fine-tuned
            networks (unfrozen).
        budgets: Numbers of labels, or ``'all'``; default 100, 250, 1000, all.
        fractions: Shares above 0, up to 1; default 0.01, 0.1, 1.
        transfer_to: Configs with ``evaluation_dataset``.
        modes: ``'frozen'`` and ``'unfrozen'``: for label budgets and transfer.
        draws: Draws of a budget and of labels per class for each seed.
        baselines: ``'pixels'`` (raw pixels as features) and ``'untrained'`` (the network at random
            initialisation), both for protocols on features; ``'supervised'`` (like the protocol, but on
            all labels only beside ``finetune``).
        seeds: Every protocol is repeated for each; a seed decides held-out rows, draws, the start and
            the order of training, and random networks.
        out_dir: Default: ``evaluation`` beside the checkpoint.
        device: Default: CUDA where there is a device.
        allow_partial: Accept a checkpoint that matches less than 95 % of the backbone.
        options: Config keys to override.

    Returns:
        One row for each method, protocol, seed and draw. They are also written to
        ``out_dir/results.json``, after every measurement, and the drawn rows to ``subsets.npz``.

    Raises:
        UserError: Bad input; settings are checked before features are computed.
    """
    config = load_config(config, options)
    request = Request(
        protocols, labels_per_class, budgets, fractions, transfer_to, modes, draws, baselines, seeds
    )
    for key in ("model", "evaluation_dataset"):
        if key not in config:
            raise UserError(f"The config lacks {key}.")
    recipes = read_recipes(config)
    target_configs = _load_targets(transfer_to)
    init_process_group()
    device = _device(device)

    model = random_network(config, seed=request.seeds[0], device=device)
    origin: dict[str, Any] | None = None
    if checkpoint is not None:
        load_weights(model, checkpoint, allow_partial=allow_partial)
        origin = {"path": str(checkpoint), "sha256": file_hash(checkpoint)}
    folder = _out_dir(config, checkpoint, out_dir)
    evaluation = config.get("evaluation", {})
    loading = dict(batch_size=evaluation.get("batch_size", 512), num_workers=evaluation.get("num_workers", 0))
    data, *targets = (
        EvaluationData(source, loading=loading, cache_dir=folder / "features", device=device, target=name)
        for name, source in ((None, config), *target_configs.items())
    )
    _check_data(data, targets, model, request)
    seeded = [[SeededData(d, seed) for d in (data, *targets)] for seed in request.seeds]

    table = ResultRows(config, folder, device)
    runner = Protocols(config, request, recipes, table, model)
    for subjects in _subjects(config, request, model, origin):
        for subject, (own, *others) in zip(subjects, seeded, strict=True):
            runner.evaluate(subject, own, others)
    if "supervised" in (*request.protocols, *request.baselines):
        for own, *others in seeded:
            runner.supervised(own, others)
    return table.rows


def _subjects(
    config: Config, request: Request, model: torch.nn.Module, origin: dict[str, Any] | None
) -> Iterator[list[Subject]]:
    """For each method the subject of every seed."""
    seeds = request.seeds

    def untrained(trainable: bool) -> list[Subject]:
        device = next(model.parameters()).device
        networks = (random_network(config, seed=seed, device=device) for seed in seeds)
        return [Subject("untrained", Embedding(n), fixed=False, trainable=trainable) for n in networks]

    if origin is None:
        yield untrained(trainable=True)
    else:
        # A row is called after the algorithm that trained the weights.
        yield [Subject(str(config.model.type), Embedding(model), origin, trainable=True)] * len(seeds)
        if "untrained" in request.baselines:
            yield untrained(trainable=False)
    if "pixels" in request.baselines:
        yield [Subject("pixels", None)] * len(seeds)


def _load_targets(paths: Sequence[Config | str | os.PathLike]) -> dict[str, Config]:
    """The configs of ``--transfer-to`` under the names of their data sets."""
    targets: dict[str, Config] = {}
    for path in paths:
        config = load_config(path)
        if "evaluation_dataset" not in config:
            raise UserError(f"--transfer-to {path}: this config lacks evaluation_dataset.")
        name = Path(config.filename).stem if config.filename else str(config.evaluation_dataset.type)
        if name in targets:
            raise UserError(f"--transfer-to names two configs called {name}: rename one.")
        targets[name] = config
    return targets


def _check_data(
    data: EvaluationData, targets: Sequence[EvaluationData], model: torch.nn.Module, request: Request
) -> None:
    """Refuse data that a protocol or the network cannot take; warn of what makes results coarse."""
    if "cluster" in request.protocols and data.task["task"] == "multi-label":
        raise UserError(
            "The protocol cluster compares clusters with one class per image: evaluation_dataset has several."
        )
    sizes = []
    for one in (data, *targets):
        name = "evaluation_dataset" if one.target is None else f"--transfer-to {one.target}"
        check_images(model, one.splits.train, name)
        sizes.append(tuple(one.splits.train[0]["inputs"].shape[1:]))
        if one.test_images < FEW_TEST_IMAGES:
            _warn(
                f"{name}: only {one.test_images} test images; one of them is worth "
                f"{100 / one.test_images:.1f} points of accuracy."
            )
        if sizes[-1] != sizes[0]:
            _warn(
                f"{name}: images of {sizes[-1]} pixels, those of evaluation_dataset have {sizes[0]}: the "
                "network sees objects at another scale."
            )


def _warn(message: str) -> None:
    print_log(message, logger="current", level=logging.WARNING)


def _device(device: str | torch.device | None) -> torch.device:
    try:
        found = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError as error:
        raise UserError(f"device={device!r} is no device of torch, such as cpu or cuda.") from error
    if found.type == "cuda" and not torch.cuda.is_available():
        raise UserError(f"device={device!r}: no CUDA device is available.")
    return found


def _out_dir(config: Config, checkpoint: Any, out_dir: Any) -> Path:
    if out_dir is not None:
        if Path(out_dir).exists() and not Path(out_dir).is_dir():
            raise UserError(f"--out '{out_dir}' is a file; give a folder.")
        return Path(out_dir)
    if checkpoint is not None:
        return Path(checkpoint).parent / "evaluation"
    name = Path(config.filename).stem if config.filename else "run"
    return Path(config.get("work_dir") or Path("work_dirs") / name) / "evaluation"

"""From a config and a checkpoint to one table of results."""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import is_main_process
from torch import Tensor

from ssl_ext.engine import init_process_group, load_weights
from ssl_ext.env import package_versions
from ssl_ext.errors import UserError, user_errors
from ssl_ext.evaluation import (
    Banks,
    Outcome,
    ResultRow,
    file_hash,
    knn_protocol,
    linear_probe,
    linear_protocol,
    measure_cost,
    text_hash,
    train_from_scratch,
    write_results,
)
from ssl_ext.models import build_augmentation

from .build import load_config
from .evaluation_data import EvaluationData, FewLabels
from .evaluation_network import Embedding, random_network

PROTOCOLS = ("knn", "linear")
BASELINES = ("pixels", "untrained", "supervised")
# A recipe counted in epochs would take a handful of steps on a hundred images.
FEW_LABELS = dict(solver="lbfgs", l2=[1e-4, 1e-3, 1e-2, 1e-1, 1.0])
RECIPES: dict[str, tuple[Callable[..., Any], set[str]]] = {
    "knn": (knn_protocol, {"k", "temperature", "weights"}),
    "linear": (linear_probe, set()),
    "few_labels": (linear_probe, set()),
    "supervised": (train_from_scratch, set()),
}
NOT_IN_RECIPES = {"num_classes", "task", "seed", "val", "test", "preprocess", "device", "keep_epoch"}


def evaluate(
    config: Config | str | os.PathLike,
    checkpoint: str | os.PathLike | None,
    *,
    protocols: Sequence[str] = PROTOCOLS,
    labels_per_class: Sequence[int] = (),
    draws: int = 5,
    baselines: Sequence[str] = (),
    out_dir: str | os.PathLike | None = None,
    seed: int = 0,
    device: str | torch.device | None = None,
    allow_partial: bool = False,
    options: dict | None = None,
) -> list[ResultRow]:
    """Evaluate the frozen features of a checkpoint, and baselines, on ``config.evaluation_dataset``.

    Every image passes the backbone once; the features are kept under ``out_dir/features``. A choice
    (k, l2, epoch) falls on validation data, never on what is reported. Recipes stand in
    ``config.evaluation``: ``knn``, ``linear``, ``few_labels`` (the linear probe on few labels) and
    ``supervised``. The rows are also written to ``out_dir/results.json``.

    Args:
        config: A config, or the path of a config file.
        checkpoint: Weights to evaluate; None for a randomly initialised network.
        protocols: ``'knn'`` and ``'linear'``, on all labels.
        labels_per_class: Also fit linear probes on this many labels of each class.
        draws: How many seeded draws of labels for each of them.
        baselines: ``'pixels'`` (raw pixels as features), ``'untrained'`` (the network at random
            initialisation), ``'supervised'`` (trained from there on the few labels alone).
        out_dir: Default: ``evaluation`` beside the checkpoint.
        seed: Of draws, held-out rows, probes and random networks.
        device: Default: CUDA where there is a device.
        allow_partial: Accept a checkpoint that matches less than 95 % of the backbone.
        options: Config keys to override.

    Returns:
        One row for each method, protocol and draw.

    Raises:
        UserError: Bad input; names of settings are checked before features are computed.
    """
    config = load_config(config, options)
    _check(config, protocols, labels_per_class, draws, baselines)
    init_process_group()
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    model = random_network(config, seed=seed, device=device)
    if checkpoint is not None:
        load_weights(model, checkpoint, allow_partial=allow_partial)
    folder = _out_dir(config, checkpoint, out_dir)
    data = EvaluationData(config, cache_dir=folder / "features", seed=seed, device=device)
    few = data.draws(labels_per_class, draws)
    table = _Rows(config, data, seed)

    origin = checkpoint and {"path": str(checkpoint), "sha256": file_hash(checkpoint)}
    # A row is called after the algorithm that trained the weights.
    trained = str(config.model.type)
    sources: dict[str, Embedding | None] = {trained if origin else "untrained": Embedding(model)}
    if "untrained" in baselines and origin:
        sources["untrained"] = Embedding(random_network(config, seed=seed, device=device))
    if "pixels" in baselines:
        sources["pixels"] = None
    for method, embedding in sources.items():
        banks, about = data.banks(embedding)
        table.source = {"checkpoint": origin if method == trained else None, "features": about}
        table.frozen(method, banks, protocols, few)
    if "supervised" in baselines:
        table.source = {"checkpoint": None}
        table.supervised(few)
    if is_main_process():
        write_results(folder / "results.json", table.rows)
    return table.rows


def _check(
    config: Config,
    protocols: Sequence[str],
    labels_per_class: Sequence[int],
    draws: int,
    baselines: Sequence[str],
) -> None:
    for key in ("model", "evaluation_dataset"):
        if key not in config:
            raise UserError(f"The config lacks {key}.")
    for what, given, allowed in (("protocols", protocols, PROTOCOLS), ("baselines", baselines, BASELINES)):
        if wrong := [name for name in given if name not in allowed]:
            raise UserError(f"{what}: {', '.join(wrong)} unknown; allowed are {', '.join(allowed)}.")
    if draws < 1 or any(n < 1 for n in labels_per_class):
        raise UserError(f"draws={draws}, labels_per_class={list(labels_per_class)}: all must be at least 1.")
    if "supervised" in baselines and not labels_per_class:
        raise UserError("The supervised baseline is trained on few labels: give --labels-per-class.")
    if not protocols and not labels_per_class:
        raise UserError("Nothing to evaluate: give --protocols or --labels-per-class.")
    settings = config.get("evaluation", {})
    _allow("evaluation", settings, {"batch_size", "num_workers", *RECIPES})
    for name, (function, keys) in RECIPES.items():
        parameters = inspect.signature(function).parameters.values()
        own = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}
        hidden = {key for key in own if key.startswith("val_")} | NOT_IN_RECIPES
        _allow(f"evaluation.{name}", settings.get(name, {}), keys or own - hidden)


def _allow(key: str, settings: Mapping[str, Any], allowed: set[str]) -> None:
    if wrong := sorted(set(settings) - allowed):
        raise UserError(f"{key}.{wrong[0]} is unknown; allowed are {', '.join(sorted(allowed))}.")


def _out_dir(config: Config, checkpoint: Any, out_dir: Any) -> Path:
    if out_dir is not None:
        return Path(out_dir)
    if checkpoint is not None:
        return Path(checkpoint).parent / "evaluation"
    name = Path(config.filename).stem if config.filename else "run"
    return Path(config.get("work_dir") or Path("work_dirs") / name) / "evaluation"


class _Rows:
    """Runs protocols and collects their rows; ``source`` is what the next rows come from."""

    def __init__(self, config: Config, data: EvaluationData, seed: int) -> None:
        self.config, self.data, self.seed = config, data, seed
        plain = config.to_dict()
        self.settings: dict[str, Any] = plain.get("evaluation", {})
        self.about = {
            "config": config.filename,
            "config_hash": text_hash(json.dumps(plain, sort_keys=True, default=str)),
            "dataset": plain["evaluation_dataset"],
            "device": str(data.device),
            "versions": package_versions(),
        }
        self.source: dict[str, Any] = {}
        self.rows: list[ResultRow] = []

    def _add(
        self,
        method: str,
        protocol: str,
        run: Callable[[], Outcome],
        sizes: dict[str, int],
        few: FewLabels | None = None,
    ) -> None:
        with user_errors(f"{method}, {protocol}"), measure_cost() as cost:
            outcome = run()
        self.rows.append(
            ResultRow(
                method=method,
                protocol=protocol,
                last=outcome.last,
                best=outcome.best,
                settings={**outcome.settings, **self.data.splits.settings},
                sizes=sizes,
                seed=self.seed,
                labels_per_class=few.per_class if few else None,
                draw=few.draw if few else None,
                cost=cost,
                source={**self.about, **self.source},
            )
        )

    def frozen(self, method: str, banks: Banks, protocols: Sequence[str], draws: Sequence[FewLabels]) -> None:
        """KNN and linear probe on all labels, linear probes on each draw of few labels."""
        task = self.data.task
        if "knn" in protocols:
            recipe = self.settings.get("knn", {})
            self._add(method, "knn", lambda: knn_protocol(banks, **task, **recipe), banks.sizes)
        if "linear" in protocols:
            recipe = self.settings.get("linear", {})
            self._add(
                method,
                "linear",
                lambda: linear_protocol(banks, **task, seed=self.seed, recipe=recipe),
                banks.sizes,
            )
        recipe = self.settings.get("few_labels", FEW_LABELS)
        for few in draws:
            rows = few.rows.to(self.data.device)
            part = Banks(banks.fit.select(rows), banks.val, banks.test)

            def probe(part: Banks = part, seed: int = self.seed + few.draw) -> Outcome:
                return linear_protocol(part, **task, seed=seed, recipe=recipe)

            self._add(method, "linear", probe, part.sizes, few)

    def supervised(self, draws: Sequence[FewLabels]) -> None:
        """The network trained from its random start on each draw of few labels.

        Augmentation is ``evaluation.supervised.augment``; without that key the first view of
        pretraining, with None the clean images.
        """
        data, recipe = self.data, dict(self.settings.get("supervised", {}))
        network = random_network(self.config, seed=self.seed, device=data.device)
        preprocess, preprocessor = Embedding(network).clean, network.data_preprocessor
        view = next(iter(getattr(preprocessor, "views", ())), None)
        if "augment" in recipe:
            transforms = recipe.pop("augment")
            with user_errors("evaluation.supervised.augment"):
                view = build_augmentation(transforms).to(data.device) if transforms else None

        def augment(images: Tensor) -> Tensor:
            assert view is not None
            return preprocessor.normalize(view(images.to(data.device)))

        for few in draws:
            images, labels = data.images(few)
            sizes = {"train": len(images), "val": len(data.val), "test": len(data.splits.test)}

            def train(
                images: Tensor = images, labels: Tensor = labels, seed: int = self.seed + few.draw
            ) -> Outcome:
                return train_from_scratch(
                    lambda: Embedding(random_network(self.config, seed=seed, device=data.device)),
                    images,
                    labels,
                    val=data.val,
                    test=data.splits.test,
                    **data.task,
                    preprocess=preprocess,
                    augment=None if view is None else augment,
                    device=data.device,
                    seed=seed,
                    **recipe,
                )

            self._add("supervised", "supervised", train, sizes, few)
            self.rows[-1].settings["augment"] = None if view is None else repr(view)

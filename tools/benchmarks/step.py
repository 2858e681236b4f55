"""``benchmark.py step``: a training step of the runner, or of a method, against a reference step."""

from __future__ import annotations

import argparse
import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import set_random_seed
from rich.console import Console
from torch import Tensor, nn

from ssl_ext.apis import load_config, parse_options
from ssl_ext.errors import UserError
from ssl_ext.losses import mixed_cross_entropy
from ssl_ext.losses.cross_entropy import cross_entropy
from ssl_ext.mixups import Mixed
from ssl_ext.models.classifiers.amix import AMix

from .compare import WARMUP, Comparison, compare, show
from .options import CONFIGS
from .workload import (
    Contender,
    Workload,
    add_training,
    bare_steps,
    build_optimizer,
    model_in_training,
    random_batch,
    start_ours,
    training_config,
    with_contenders,
)

CONFIG = CONFIGS / "barlow_twins/barlow-twins_resnet18_1xb256-adam-200e_cifar10.py"
# Pairs of configs that differ only in the method, and configs of methods with learned mixing.
TWINS = {
    method: [CONFIGS / f"{folder}_resnet50_1xb512-adam-500e_cifar10.py" for folder in pair]
    for method, pair in {
        "jaccard-simclr": ("jaccard/jaccard-simclr", "simclr/simclr"),
        "jaccard-moco": ("jaccard/jaccard-moco", "moco/moco"),
    }.items()
}
MIXING = {"amix": CONFIGS / "amix/amix_resnet18_1xb100-sgd-800e_cifar100.py"}
RUNNER, BARE, READY = "PretrainRunner", "bare loop", "cross-entropy, plain and mixed"
RUNNER_TARGET, TWIN_TARGET, MIXING_TARGET = 1.08, 1.05, 1.6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    subject = parser.add_mutually_exclusive_group()
    subject.add_argument("--config", default=str(CONFIG), help="pretraining config (Barlow Twins, CIFAR-10)")
    text = f"{' '.join(TWINS)}: against the method that it builds on; {' '.join(MIXING)}: against {READY}"
    subject.add_argument("--method", metavar="NAME", help=text)
    add_training(parser, ("steps", 4, "steps per measurement"))
    text = "override keys of --config"
    parser.add_argument(
        "--cfg-options", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help=text
    )


def run(
    console: Console,
    *,
    config: str,
    method: str | None,
    stem: str | None,
    cfg_options: Sequence[str],
    **settings: Any,
) -> dict[str, Any]:
    if method and cfg_options:
        raise UserError("--cfg-options are for --config; --method compares configs as they are.")
    if method is None:
        overridden = load_config(config, parse_options(cfg_options))
        comparison, target = measure_runner(training_config(overridden, stem), **settings), RUNNER_TARGET
    elif method in MIXING:
        comparison = measure_mixing(training_config(MIXING[method], stem), **settings)
        target = MIXING_TARGET
    elif method in TWINS:
        comparison = measure_twins(*(training_config(path, stem) for path in TWINS[method]), **settings)
        target = TWIN_TARGET
    else:
        raise UserError(f"--method is {method!r}; allowed are {', '.join((*TWINS, *MIXING))}.")
    ours, other = comparison.reference, next(n for n in comparison.seconds if n != comparison.reference)
    name = (method or Path(config).stem) + (f", {stem} stem" if stem else "")
    text = f"A step of {ours} takes {comparison.sentence(other)} the time of one of {other}; "
    title = f"step: batch {settings['batch_size']}, {settings['size']} px, {name}"
    show(console, comparison, title, text + f"the target is at most {target}×.")
    return comparison.figures()


def measure_runner(config: Config, *, batch_size: int, size: int, steps: int, pairs: int) -> Comparison:
    """Time epochs of ``steps`` batches in the runner, and the same number of steps in a bare loop.

    The runner has data loader, augmentation, all hooks of the config except checkpoints and monitors, and log
    lines. The bare loop has forward, loss, backward, optimiser and EMA of an equal network on one batch of
    precomputed views.
    """
    results: list[Comparison] = []

    def use(contenders: Sequence[Contender]) -> None:
        (runner,) = contenders
        model = copy.deepcopy(runner.model)
        data = model.data_preprocessor(next(iter(runner.loader)), training=True)
        optimizer = build_optimizer(config, model)
        bare = bare_steps(model.train(), optimizer, data["inputs"], steps, data["data_samples"])
        results.append(_compare({BARE: bare, RUNNER: runner.epoch}, RUNNER, pairs, steps * batch_size))

    with_contenders(Workload(config, batch_size, size, steps, epochs=WARMUP + pairs), [start_ours], use)
    return results[0]


def measure_twins(
    config: Config, other: Config, *, batch_size: int, size: int, steps: int, pairs: int
) -> Comparison:
    """Time ``steps`` bare steps of two methods on the same views; names are the configs' ``model.type``."""
    calls = {}
    for each in (config, other):
        model = model_in_training(each)
        set_random_seed(0)  # both methods get the same views
        views = model.data_preprocessor(random_batch(model, batch_size, size), training=True)["inputs"]
        calls[each.model.type] = bare_steps(model, build_optimizer(each, model), views, steps)
    return _compare(calls, config.model.type, pairs, steps * batch_size)


class ReadyMixtures(nn.Module):
    """AMix without its Mix Block: two passes of one network, on plain and given mixed images."""

    def __init__(self, model: AMix, mixed: Mixed) -> None:
        super().__init__()
        self.backbone, self.head, self.mix_head = model.backbone, model.head, model.mix_head
        self.classify, self.extract_embedding = model.classify, model.extract_embedding
        self.mixed = mixed

    def before_step(self, step: int, iteration: int) -> None:
        """Do nothing."""

    after_step = before_step

    def loss(self, views: list[Tensor], data_samples: dict) -> dict[str, Tensor]:
        """Losses of the view [(N, C, H, W)] and of the mixtures."""
        labels = data_samples["labels"]
        logits = self.mix_head((self.extract_embedding(self.mixed.images),))
        return dict(
            loss_plain=cross_entropy(self.classify(views[0]), labels),
            loss_mix=mixed_cross_entropy(logits, labels, self.mixed),
        )


def measure_mixing(config: Config, *, batch_size: int, size: int, steps: int, pairs: int) -> Comparison:
    """Time ``steps`` bare steps of AMix, and of cross-entropy on a plain and a given mixed batch.

    Raises:
        UserError: The model has no learned mixing.
    """
    ours, twin = (model_in_training(config) for _ in range(2))
    if not isinstance(ours, AMix):
        raise UserError(f"model.type is {config.model.type!r}; it must be a classifier that learns to mix.")
    data = ours.data_preprocessor(random_batch(ours, batch_size, size), training=True)
    (view,), labels = data["inputs"], data["data_samples"]
    lam, permutation = ours.draw(batch_size, view.device)
    mixed = Mixed(view.lerp(view[permutation], 0.5), lam, permutation)
    models = {config.model.type: ours, READY: ReadyMixtures(twin, mixed)}
    calls = {
        name: bare_steps(model, build_optimizer(config, model), [view], steps, labels)
        for name, model in models.items()
    }
    return _compare(calls, config.model.type, pairs, steps * batch_size)


def _compare(calls: dict, reference: str, pairs: int, images: int) -> Comparison:
    return compare(calls, reference=reference, pairs=pairs, items=images, unit="images")

"""Accuracies of a classifier after each epoch."""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import all_reduce, get_rank, get_world_size, is_main_process
from mmengine.hooks import Hook
from torch import Tensor

from ssl_ext.datasets.files import data_files
from ssl_ext.env import package_versions, peak_resident_bytes
from ssl_ext.evaluation import ResultRow, batches, evaluation_mode, labelled_rows, read_results, write_results
from ssl_ext.evaluation.results import CLASSIFICATION
from ssl_ext.files import write_text
from ssl_ext.registry import HOOKS

from .monitoring import bare_model, check_positive, report
from .random_state import kept_random_state

FILE = "accuracies.json"
RESULTS = "classification/results.json"
EPOCHS = "classifier_epochs"


@HOOKS.register_module()
class ClassifierEvaluationHook(Hook):
    """Log the top-1 accuracy of every prediction of the model on clean images every few epochs.

    On the reported split: ``accuracy_plain`` and, if the model has them, ``accuracy_mix``,
    ``accuracy_plain_momentum``, ``accuracy_mix_momentum``; ``accuracy`` is that of the network used for
    inference. On a validation split: the same as ``val_accuracy...``. No epoch is selected by them: the
    reported figure is the median of the last epochs (:func:`median_of_last`).

    The accuracies are logged, and written with the training time in seconds to ``accuracies.json`` in the
    work dir after each measurement; a resumed run keeps the epochs of its checkpoint. The medians are also
    written as a result row, ``classification/results.json``, for ``tools/report.py``.

    Args:
        interval: Epochs between two measurements; the last epoch is always measured.
        last: Number of last measurements of which the median is taken.

    Raises:
        ValueError: ``interval`` or ``last`` below 1.
    """

    priority = "NORMAL"

    def __init__(self, interval: int = 1, last: int = 10) -> None:
        check_positive("ClassifierEvaluationHook", interval=interval, last=last)
        self.interval, self.last = interval, last
        self.seconds = 0.0
        self.since = 0.0

    def before_train(self, runner) -> None:
        """Restore the measurements of a resumed run; report a damaged result file before training."""
        stored = _stored(runner)
        self.seconds = stored[-1]["training_seconds"] if stored else 0.0
        self.since = time.perf_counter()
        if is_main_process():
            _other_rows(runner)

    def before_train_epoch(self, runner) -> None:
        """Start the clock."""
        self.since = time.perf_counter()

    def after_train_epoch(self, runner) -> None:
        """Stop the clock, measure, log and write."""
        epoch_seconds = time.perf_counter() - self.since
        self.seconds += epoch_seconds
        last = runner.epoch + 1 == runner.max_epochs
        if runner.evaluation_splits is None or not (last or self.every_n_epochs(runner, self.interval)):
            return
        figures = self.measure(runner)
        times = dict(epoch_seconds=epoch_seconds, training_seconds=self.seconds)
        report(runner, {**figures, **times})
        epochs = [*_stored(runner), dict(epoch=runner.epoch + 1, **times, **figures)]
        # In the message hub it is stored in checkpoints.
        runner.message_hub.update_info(EPOCHS, epochs)
        if is_main_process():
            write_accuracies(Path(runner.work_dir) / FILE, epochs, self.last)
            rows = [self.row(runner, epochs), *_other_rows(runner)]
            write_results(Path(runner.work_dir) / RESULTS, rows)

    def row(self, runner, epochs: list[dict[str, Any]]) -> ResultRow:
        """Medians of the last epochs as a result row; ``best`` is equal, as no epoch is selected."""
        medians, splits = median_of_last(epochs, self.last), runner.evaluation_splits
        config = runner.cfg.to_dict()
        model, dataset = config["model"], config["train_dataloader"]["dataset"]
        files = {
            name: {"files": data_files(split)}
            for name, split in (("train", splits.train), ("val", splits.val), ("test", splits.test))
            if split is not None
        }
        figures = {name.replace("accuracy", "acc"): value for name, value in medians.items()}
        return ResultRow(
            method=str(model["type"]),
            protocol=CLASSIFICATION,
            last=figures,
            best=figures,
            settings=dict(
                figure=f"median of the last {min(self.last, len(epochs))} measurements",
                epochs=runner.max_epochs,
                test_split=splits.settings["test_split"],
            ),
            sizes=dict(train=len(runner.train_dataloader.dataset), test=len(splits.test)),
            seed=int(runner.cfg.randomness.seed),
            cost=dict(
                wall_s=self.seconds,
                epoch_s=statistics.median(epoch["epoch_seconds"] for epoch in epochs),
                peak_rss_mib=peak_resident_bytes() / 2**20,
            ),
            source=dict(
                config=runner.cfg.filename,
                network={key: model.get(key) for key in ("backbone", "neck")},
                pretraining=dict(datasets=[dataset], epoch=runner.epoch + 1),
                dataset=config["evaluation_dataset"],
                data=files,
                classes=splits.train.classes,
                device=torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
                versions=package_versions(),
            ),
        )

    def measure(self, runner) -> dict[str, float]:
        """Accuracies, in [0, 1], on the reported split and on a validation split."""
        model, splits = bare_model(runner), runner.evaluation_splits
        size = runner.cfg.get("evaluation", {}).get("batch_size", 512)
        figures = {}
        with kept_random_state(), evaluation_mode(model):
            for prefix, dataset in (("", splits.test), ("val_", splits.val)):
                if dataset is not None:
                    accuracies = classifier_accuracies(model, dataset, batch_size=size)
                    figures[f"{prefix}accuracy"] = accuracies[model.prediction]
                    figures.update((f"{prefix}accuracy_{name}", a) for name, a in accuracies.items())
        return figures


def classifier_accuracies(model: Any, dataset: Any, *, batch_size: int = 512) -> dict[str, float]:
    """Top-1 accuracy in [0, 1] of each of ``model.logits`` on the labelled images of all processes."""
    rows = labelled_rows(torch.as_tensor(dataset.labels)).nonzero()[:, 0].cpu()
    hits: Tensor | None = None
    names: list[str] = []
    # A process without rows computes one uncounted row, to know the names.
    mine = rows[get_rank() :: get_world_size()]
    for batch in batches(dataset, mine if len(mine) else rows[:1], batch_size=batch_size):
        data = model.data_preprocessor(batch, False)
        logits, labels = model.logits(data["inputs"]), data["data_samples"]["labels"]
        right = torch.stack([(scores.argmax(1) == labels).sum() for scores in logits.values()])
        names, hits = list(logits), right if hits is None else hits + right
    total = hits * bool(len(mine))
    all_reduce(total)
    return dict(zip(names, (total.double() / len(rows)).tolist(), strict=True))


def median_of_last(epochs: list[dict[str, Any]], count: int = 10) -> dict[str, float]:
    """Median over the last ``count`` epochs of each accuracy, as the AMix paper reports (Sec. 4.1).

    >>> median_of_last([dict(accuracy=0.9), dict(accuracy=0.25), dict(accuracy=0.75)], 2)
    {'accuracy': 0.5}
    """
    kept = epochs[-count:]
    names = [name for name in kept[-1] if "accuracy" in name] if kept else []
    return {name: statistics.median(epoch[name] for epoch in kept) for name in names}


def write_accuracies(path: Path, epochs: list[dict[str, Any]], last: int) -> None:
    """Write all epochs, the median of the last ones and the median time of an epoch."""
    content = dict(
        median_of_last=min(last, len(epochs)),
        median=median_of_last(epochs, last),
        median_epoch_seconds=statistics.median(epoch["epoch_seconds"] for epoch in epochs),
        epochs=epochs,
    )
    write_text(path, json.dumps(content, indent=2))


def _other_rows(runner) -> list[ResultRow]:
    """Rows of other protocols in the result file, which are kept."""
    path = Path(runner.work_dir) / RESULTS
    return [row for row in read_results(path) if row.protocol != CLASSIFICATION] if path.exists() else []


def _stored(runner) -> list[dict[str, Any]]:
    """Stored measurements of the epochs before the current one."""
    epochs = runner.message_hub.get_info(EPOCHS, []) or []
    return [epoch for epoch in epochs if epoch["epoch"] <= runner.epoch]

"""Files of an evaluation: earlier results, scores of images, and trained classifiers."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.logging import print_log

from ssl_ext.console import counted
from ssl_ext.errors import UserError, user_errors
from ssl_ext.evaluation import (
    Condition,
    ResultRow,
    Unfinished,
    extract_features,
    read_results,
    text_hash,
)
from ssl_ext.evaluation.calibration import feature_distance, tempered, validation_temperature
from ssl_ext.evaluation.identity import measurement_key
from ssl_ext.evaluation.operating import positive_images, threshold
from ssl_ext.exporting.classifier import Calibration, Classifier
from ssl_ext.files import check_file, check_writable, replacing
from ssl_ext.models.evaluated import EvaluatedModel

from .plan import Measurement
from .protocols import Measured

RESULTS, SUBSETS, PREDICTIONS, NETWORKS = "results.json", "subsets.npz", "predictions", "networks"
UNFINISHED = "unfinished"
OWN_FOLDERS = (Path(PREDICTIONS), Path(NETWORKS))
Earlier = tuple[dict[str, ResultRow], dict[str, np.ndarray]]
KINDS = ("frozen", "linear-aug", "unfrozen")
"""Kinds of measurements that train a classifier."""
SPECIFICITY = 0.9
BANK = 2000
"""Largest number of training images, and of validation images, whose features are kept or compared."""
SHARED = ("method", "protocol", "mode", "target", "balance", "seed")
"""Fields that a measurement and its row have in common."""
CONTENT = ("config_hash", "network", "data")
"""Entries of a row's ``source`` that a repeated measurement would equal."""
LEFT_OUT = ("cost", "curves", "intervals", "predictions", "saved")
"""Fields of a result row that a classifier's file does not repeat."""


def read_earlier(folder: Path) -> Earlier:
    """Read the result rows of a folder by measurement, and its drawn subsets by name.

    Raises:
        UserError: A file is damaged, and would be overwritten.
    """
    rows, subsets, path = {}, {}, folder / RESULTS
    try:
        if path.exists():
            with user_errors(f"'{path}' is damaged"):
                rows = {measurement_key(row): row for row in read_results(path)}
        if (path := folder / SUBSETS).exists():
            with (
                user_errors(f"'{path}' is damaged"),
                np.load(check_file(path), allow_pickle=False) as content,
            ):
                subsets = dict(content)
    except UserError as error:
        reason = str(error).removesuffix(".")
        raise UserError(f"{reason}. Rename or delete {path.name}, or give another folder (--out).") from error
    return rows, subsets


def earlier_row(
    rows: Iterable[ResultRow], one: Measurement, about: dict[str, Any], recipe: str
) -> ResultRow | None:
    """The row of a measurement, with its recipe, and config, weights and data as in ``about``."""
    labels, trains = one.labels, one.kind in KINDS
    wanted: dict[str, Any] = {name: getattr(one, name) for name in SHARED}
    wanted |= {"labels_per_class": labels.per_class, "budget": labels.budget, "fraction": labels.fraction}
    wanted |= {"draw": labels.draw, "by": labels.by, **({"recipe": recipe} if trains else {})}
    for row in rows:
        if (
            _weights(row.source) == _weights(about)
            and all(getattr(row, name) == value for name, value in wanted.items())
            and all(_plain(row.source.get(name)) == _plain(about.get(name)) for name in CONTENT)
        ):
            return row
    return None


def state_files(folder: Path, one: Measurement, about: dict[str, Any], read: bool) -> Unfinished:
    """Files of the state of a measurement that trains; their name depends on all that the result does."""
    content = [repr(one), _weights(about), *(about.get(name) for name in ("device", *CONTENT))]
    digest = text_hash(json.dumps(content, sort_keys=True, default=str))[:16]
    return Unfinished(folder / UNFINISHED / f"{_file_name(one.words)}_{digest}", read)


def _file_name(words: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", words)


def _weights(source: dict[str, Any]) -> dict[str, Any]:
    """The weights of a row's source: hash, raw or averaged, and their share of the backbone."""
    return {key: value for key, value in (source.get("checkpoint") or {}).items() if key != "path"}


def store(folder: Path, words: str, content: bytes, ending: str) -> Path:
    """Write a file named by words and by the hash of its content; return its path."""
    name = f"{_file_name(words)}_{hashlib.sha256(content).hexdigest()[:16]}{ending}"
    if is_main_process() and not (folder / name).exists():
        with replacing(folder / name) as file:
            file.write(content)
    return folder / name


class SavedNetworks:
    """Writer of the trained classifiers of an evaluation.

    Args:
        folder: Folder of the files.
        which: Epoch whose weights are kept, ``'best'`` (on validation) or ``'last'``.
        config: Config of the network.

    Raises:
        UserError: An unknown epoch, or a folder that cannot be written to.
    """

    def __init__(self, folder: Path, which: str, config: Config) -> None:
        if which not in ("best", "last"):
            raise UserError(f"which={which!r}: allowed are best, last.")
        self.folder, self.which, self.config = folder, which, config
        if is_main_process():
            check_writable(folder, "--save", "Trained networks")

    def announce(self, measurements: Sequence[Measurement], network: EvaluatedModel) -> None:
        """Log the number and size of the files.

        Raises:
            UserError: Nothing is trained, or the disk has too little space.
        """
        count = sum(_is_trained(one) for one in measurements)
        if not count:
            raise UserError("--save: none of the measurements trains a classifier on a network.")
        size = sum(value.nbytes for value in network.model.backbone.state_dict().values())
        place = next(path for path in (self.folder, *self.folder.absolute().parents) if path.exists())
        free = shutil.disk_usage(place).free
        files = f"{counted(count, 'file')} of {size / 1e6:.1f} MB"
        text = f"{files}, {count * size / 1e9:.2f} GB in all, in '{self.folder}'"
        if count * size > free:
            raise UserError(f"--save would write {text}, where {free / 1e9:.2f} GB are free.")
        print_log(f"--save writes the {self.which} networks: {text}.", logger="current")

    def holds(self, row: ResultRow, measurement: Measurement, out_dir: Path) -> bool:
        """Tell if nothing is to be kept of a measurement, or the classifier of its row in ``out_dir`` is."""
        files = {path.resolve() for path in self.folder.glob(f"*-{self.which}_*.pth")}
        return not _is_trained(measurement) or bool(row.saved and (out_dir / row.saved).resolve() in files)

    def save(self, row: ResultRow, measurement: Measurement, measured: Measured) -> Path | None:
        """Write the classifier of a measurement; None if it trains none."""
        if not _is_trained(measurement) or measured.network is None:
            return None
        data = measured.seeded.data
        height, width = data.image_size
        calibration, sentence = self._calibration(measurement, measured)
        print_log(f"{measurement.words}, {self.which}: {sentence}", logger="current")
        about = {**_about(row), "name": Condition.from_row(row).of(row.method), "epoch": self.which}
        classifier = Classifier(
            measured.network,
            measured.outcome.heads[self.which],
            data.task["num_classes"],
            data.splits.train.classes,
            (height, width),
            _plain(data.config.evaluation_dataset),
            {**about, "temperature": sentence},
            calibration,
        )
        words = f"{measurement.words}, {self.which}"
        return store(self.folder, words, classifier.encoded(self.config), ".pth")

    def _calibration(self, measurement: Measurement, measured: Measured) -> tuple[Calibration, str]:
        """Temperature and thresholds from the validation scores, and features of some training images.

        Images that were held out for validation are not among the latter: they would be at a distance of 0.
        The sentence is about the temperature.
        """
        seeded, network, labels = measured.seeded, measured.network, measurement.labels
        predictions, thresholds = measured.outcome.predictions, None
        assert network is not None and predictions is not None
        grouped = replace(predictions, val_groups=seeded.val_groups(labels))
        temperature, sentence = validation_temperature(grouped, self.which)
        if temperature is not None:
            scores = torch.from_numpy(predictions.val[self.which].values)
            calibrated = tempered(scores, temperature, predictions.task).numpy()
            thresholds = [
                threshold(calibrated[:, column], ~positive_images(predictions, column), SPECIFICITY)
                for column in range(calibrated.shape[1])
            ]

        def features(dataset: Any, rows: torch.Tensor) -> torch.Tensor:
            order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[:BANK]
            loading = seeded.data.loading
            return extract_features(
                network.embed, dataset, rows=rows[order.sort().values], model=network.model, **loading
            )[0]

        held = seeded.val(labels)
        bank = features(seeded.data.splits.train, seeded.rows(labels).fit).half()
        distances = feature_distance(features(held, torch.arange(len(held))), bank).sort().values
        return Calibration(temperature or 1.0, thresholds, SPECIFICITY, bank, distances), sentence


def _is_trained(measurement: Measurement) -> bool:
    return measurement.kind in KINDS and measurement.method != "pixels"


def _about(row: ResultRow) -> dict[str, Any]:
    """The result row as plain values, without its larger parts."""
    kept = {key: value for key, value in asdict(row).items() if key not in LEFT_OUT}
    for epoch in ("last", "best"):
        kept[epoch] = {key: value for key, value in kept[epoch].items() if "confusion" not in key}
    return _plain(kept)


def _plain(value: Any) -> Any:
    """Copy as JSON values, which are read without running code."""
    return json.loads(json.dumps(value, default=str))

"""Predictions of a kept classifier for images, as a CSV file."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import print_log

from ssl_ext.console import track
from ssl_ext.datasets import ArrayDataset
from ssl_ext.datasets.image_files import files_like
from ssl_ext.datasets.listing import image_names
from ssl_ext.datasets.npz import npz_images
from ssl_ext.datasets.table import paths_below, read_table
from ssl_ext.errors import UserError, user_errors
from ssl_ext.escape import spreadsheet
from ssl_ext.evaluation import batches
from ssl_ext.evaluation.calibration import entropy
from ssl_ext.exporting.classifier import Classifier, Prediction, load_classifier
from ssl_ext.files import check_file, replacing, shown

FILE = "file"
"""Column of a CSV file with the paths of images."""


def predict(
    model: str | os.PathLike,
    source: str | os.PathLike,
    *,
    out: str | os.PathLike | None = None,
    data_root: str | os.PathLike | None = None,
    split: str = "test",
    batch_size: int = 256,
    num_workers: int = 0,
    device: str | torch.device | None = None,
    overwrite: bool = False,
) -> Path:
    """Classify images and write one line for each to a CSV file.

    Columns: ``file`` (or ``row``); ``p(CLASS)``, the probability of each class at the temperature that was
    fitted on validation images; ``decision``, the class, or those with a probability above one half for
    several labels (``|`` between them), which the temperature does not change; ``above_threshold``, the
    classes whose probability exceeds that of 90 % of the negative validation images; ``entropy`` in nats;
    ``distance`` to the training images (:func:`ssl_ext.evaluation.calibration.feature_distance`); and
    ``distance_rank``, the share of the classifier's validation images that are nearer to the training images:
    1 is farther than all of them.
    Names that a spreadsheet would run as a formula begin with an apostrophe.

    Args:
        model: File of ``ssl-ext evaluate --save``.
        source: Folder of images, searched recursively; CSV file with a column ``file``; or ``.npz`` file with
            the images of ``split``. Files are resized and cropped to the size of the training images.
        out: File to write; default ``SOURCE_predictions.csv`` in the current folder.
        data_root: Folder of the paths of a CSV file; default: its own.
        split: Split of an ``.npz`` file.
        batch_size: Images per forward pass.
        num_workers: Processes that decode image files.
        device: Default CUDA if available.
        overwrite: Replace an existing file.

    Raises:
        UserError: A file is missing or damaged, or images of another size or number of channels.
    """
    if batch_size < 1 or num_workers < 0:
        raise UserError(f"--batch-size is {batch_size}, --num-workers is {num_workers}: at least 1 and 0.")
    path = Path(out) if out else Path(f"{Path(source).stem}_predictions.csv")
    if path.is_dir() or (path.exists() and not overwrite):
        raise UserError(f"'{shown(path)}' exists: give another --out, or --overwrite.")
    classifier = load_classifier(model, device)
    with user_errors(f"'{shown(source)}'"):
        key, names, dataset = _images(classifier, Path(source), data_root, split)
        text = io.StringIO()
        lines = csv.writer(text, lineterminator="\n")
        labels = _columns(classifier)
        about = ("decision", "above_threshold", "entropy", "distance", "distance_rank")
        lines.writerow([key, *(f"p({name})" for name in labels), *about])
        found = iter(names)
        loaded = batches(dataset, None, batch_size=batch_size, num_workers=num_workers)
        for batch in track(loaded, "predictions", len(names), "images", lambda batch: len(batch["inputs"])):
            rows = _rows(classifier, classifier.predict(batch["inputs"]), labels)
            lines.writerows([spreadsheet(next(found)), *row] for row in rows)
    with replacing(path) as file:
        file.write(text.getvalue().encode(errors="backslashreplace"))
    print_log(f"{len(names)} images by '{shown(model)}' ({classifier.about['name']})", logger="current")
    # Files of earlier versions have no sentence.
    if sentence := classifier.about.get("temperature"):
        print_log(sentence, logger="current")
    known = len(classifier.calibration.distances)
    print_log(
        f"distance_rank is the share of the classifier's {known:,} validation images that are nearer to its "
        "training images.",
        logger="current",
    )
    return path


def _columns(classifier: Classifier) -> list[str]:
    """Names of the columns of the scores: of all classes, or for ``binary`` of the second."""
    names = classifier.classes or list(map(str, range(classifier.num_classes)))
    return list(names[1:] if classifier.task == "binary" else names)


def _rows(classifier: Classifier, found: Prediction, labels: Sequence[str]) -> Iterator[list[str]]:
    """Fields of each image after its name."""
    names = classifier.classes or list(map(str, range(classifier.num_classes)))
    limits = classifier.calibration.thresholds
    above = found.calibrated > torch.tensor(limits or [2.0], dtype=torch.float64)
    columns = zip(
        found.scores, found.calibrated, above, entropy(found.calibrated, classifier.task), found.distance,
        found.rank, strict=True,
    )  # fmt: skip
    for scores, calibrated, over, spread, distance, rank in columns:
        if classifier.task == "multi-label":
            decision = "|".join(name for name, score in zip(labels, scores, strict=True) if score > 0.5)
        else:
            chosen = int(scores[0] > 0.5) if classifier.task == "binary" else int(scores.argmax())
            decision = names[chosen]
        yield [
            *(f"{value:.6g}" for value in calibrated.tolist()),
            spreadsheet(decision),
            spreadsheet("|".join(name for name, one in zip(labels, over.tolist(), strict=True) if one)),
            *(f"{float(value):.6g}" for value in (spread, distance, rank)),
        ]


def _images(
    classifier: Classifier, source: Path, data_root: Any, split: str
) -> tuple[str, Sequence[Any], Any]:
    """Heading of the names, names and data set of a source."""
    height, width = classifier.image_size
    channels = len(classifier.network.model.normalization[0]) if classifier.network.model.normalization else 3
    if source.suffix.lower() == ".npz":
        images = npz_images(check_file(source), split, as_rgb=channels == 3)
        if (shape := tuple(images.shape[1:])) != (channels, height, width):
            raise ValueError(f"its images are {shape}, but the classifier takes {(channels, height, width)}")
        return "row", range(len(images)), ArrayDataset(images)
    if height != width:
        raise ValueError(f"image files are cut to squares, but the classifier takes {height} x {width}")
    if source.is_dir():
        root, names = source, image_names(source)
    else:
        root = Path(data_root) if data_root else source.parent
        names = _listed(check_file(source), root)
    if missing := [name for name in names if not (root / name).is_file()]:
        raise ValueError(f"{len(missing)} of {len(names)} files are missing in '{root}': {missing[0]} first")
    files = files_like(classifier.dataset, image_size=height, channels=channels)
    files.set_files(
        [str(root / name) for name in names], [-1] * len(names), classes=(), split="train",
        available_splits=("train",),
    )  # fmt: skip
    return FILE, [shown(name) for name in names], files


def _listed(path: Path, root: Path) -> list[str]:
    """Paths in the column ``file`` of a CSV file, in order."""
    lines = read_table(path, [FILE])[1]
    paths_below(path, root, lines, "--data-root")
    names = [line[FILE] for line in lines]
    if not all(names):
        raise ValueError("a line names no file")
    return names

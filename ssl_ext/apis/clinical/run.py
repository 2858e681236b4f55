"""Write the page of one classifier from its stored predictions."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ssl_ext.apis.explore.points import file_names
from ssl_ext.apis.explore.thumbnails import read_thumbnails
from ssl_ext.apis.figures.choice import choose, conditions
from ssl_ext.apis.figures.predictions import confidence, panel_data
from ssl_ext.apis.report.classes import class_tables
from ssl_ext.apis.report.comparison import NamedRow, compare
from ssl_ext.apis.report.page import Picture, class_table, matrix_table, settings_table, template
from ssl_ext.apis.report.rows import find_results
from ssl_ext.config.data import build_dataset
from ssl_ext.errors import UserError, user_errors
from ssl_ext.evaluation import Predictions, ResultRow, dataset_fingerprint
from ssl_ext.evaluation.calibration import tempered, validation_temperature
from ssl_ext.evaluation.results import cautions
from ssl_ext.files import check_writable, shown, write_text
from ssl_ext.registry import registered_only
from ssl_ext.visualization import prediction_figures

from .columns import read_columns
from .scores import column_table, most_confident, overview

SHOWN = 12
"""Images of each kind."""
KEPT = re.compile(r"-(best|last)_[0-9a-f]+\.pth$")
"""End of the name of a kept classifier, with its epoch."""


def clinical_report(
    places: Sequence[str | os.PathLike],
    *,
    out_dir: str | os.PathLike = "report",
    where: Sequence[str] = (),
    which: str | None = None,
    by: Sequence[str] = (),
    metadata: str | os.PathLike | None = None,
    specificity: float = 0.9,
    names: bool = True,
) -> Path:
    """Write ``clinical.html`` about one measurement (first seed and draw); no network is run.

    The page has metrics with intervals, also of each class, beside those of the most frequent class; curves;
    reliability before and after a temperature fitted on validation; scores by columns of a CSV file; and the
    most confident right and wrong images, if the data set is still the evaluated one.

    Args:
        places: Folders, searched recursively, or result files.
        out_dir: Output folder.
        where: ``key=value`` conditions that select a measurement (:data:`ssl_ext.apis.figures.choice.KEYS`).
        which: ``'last'`` epoch, or the ``'best'`` epoch on validation; default that of the kept classifier
            (``evaluate(save=...)``), else ``'last'``.
        by: Columns of ``metadata``; ``NAME=EDGE,EDGE`` cuts numbers at edges instead of quartiles.
        metadata: CSV file with the column ``file`` or ``row``.
        specificity: Specificity on validation images, in (0, 1), at which each class's sensitivity is shown.
        names: Name the shown images by their files; otherwise by their rows in the split.

    Raises:
        UserError: No predictions, several measurements, an unknown column or a damaged file.
    """
    if bool(by) != bool(metadata):
        raise UserError("--by COLUMN and --metadata FILE.csv are given together.")
    if not 0 < specificity < 1:
        raise UserError(f"specificity={specificity}: a number above 0 and below 1 is needed.")
    rows = [row for file in find_results(places) for row in file.rows if row.predictions is not None]
    named = ", ".join(map(shown, places))
    if not rows:
        raise UserError(
            f"The results in '{named}' have no stored predictions: evaluate again with a protocol that "
            "classifies images (knn, linear, finetune and others)."
        )
    words, members = choose(named, rows, conditions(where), "measurements with stored predictions")
    row = members[0]
    check_writable(out_dir, "--out")
    predictions = Predictions.load(str(row.predictions))
    kept = KEPT.search(str(row.saved))
    which = which or (kept[1] if kept else "last")
    drawn = panel_data(row, predictions, which)

    @cache
    def dataset() -> Any:
        return _evaluated(row)

    columns = read_columns(metadata, by, predictions.images, dataset) if metadata else {}
    temperature, sentence = validation_temperature(predictions, which)
    calibrated = _calibrated(predictions, temperature, drawn)
    remarks = [f"Shown is the first of {len(members)} repeats."] * (len(members) > 1)
    if kept and kept[1] != which:
        remarks.append(
            f"The kept classifier is that of the {kept[1]} epoch, this page is of the {which} one."
        )
    sure, count = drawn["confidence"] if calibrated is None else calibrated, len(predictions.labels)
    chosen = most_confident(sure.reshape(count, -1), drawn["right"].reshape(count, -1), SHOWN)
    remarks += [f"{words[0].upper()}{words[1:]}" for words in cautions(row)]
    try:
        images = _images(predictions, which, chosen, row, dataset(), names)
    except UserError as error:
        images = {}
        remarks.append(f"Images are not shown. {error}" if names else "Images are not shown.")
    comparison, *_ = compare([NamedRow(row.method, row)], which=which)
    counts = comparison.lines[0].confusion
    page = template("clinical/page.html.j2").render(
        title=words,
        which=which,
        seed=row.seed,
        draw=row.draw,
        images=len(predictions.labels),
        groups=None if predictions.groups is None else predictions.units,
        remarks=remarks,
        overview=overview(row.method, predictions, which, row.source.get("majority")),
        majority=bool(row.source.get("majority")),
        classes=[class_table(table, specificity) for table in class_tables([comparison], specificity)],
        matrix=matrix_table(comparison, comparison.lines[0], counts) if counts else None,
        temperature=sentence,
        figures=_figures(calibrated, drawn),
        tables=[
            column_table(name, masks, predictions, which, specificity) for name, masks in columns.items()
        ],
        confident=images,
        calibrated=calibrated is not None,
        named=names,
        settings=settings_table(comparison),
        source=shown(row.source.get("config") or "-"),
    )
    path = Path(out_dir) / "clinical.html"
    write_text(path, page)
    return path


def _calibrated(
    predictions: Predictions, temperature: float | None, drawn: dict[str, Any]
) -> np.ndarray | None:
    """Confidences after a temperature; None if it is 1 or unknown."""
    if temperature in (None, 1):
        return None
    scores = tempered(torch.from_numpy(drawn["scores"]), temperature, predictions.task).numpy()
    return confidence(scores, predictions.task).reshape(-1)


def _figures(calibrated: np.ndarray | None, drawn: dict[str, Any]) -> list[Picture]:
    """ROC, precision-recall, and reliability; also of confidences after a temperature other than 1."""
    with user_errors("predictions"):
        made = prediction_figures(**drawn, tempered=calibrated)
    captions = {
        "ROC curves": "Each class against the rest; the dotted line is chance.",
        "Precision-recall curves": "PPV over sensitivity of each class; PPV depends on its frequency.",
        "Reliability": "Accuracy over confidence of the predictions; the dotted line is perfect.",
    }
    return [
        Picture.from_figure(figure, f"{name}. {text}", name)
        for figure, (name, text) in zip(made, captions.items(), strict=True)
    ]


def _evaluated(row: ResultRow) -> Any:
    """The reported split of a row's data set, if its content is unchanged."""
    split = "val" if str(row.settings.get("test_split", "")).startswith("val") else "test"
    settings = row.source.get("dataset")
    if not settings:
        raise UserError("The result names no data set.")
    with registered_only():
        dataset = build_dataset("The data set of the result", dict(settings, split=split))
    stored = ((row.source.get("data") or {}).get("test") or {}).get("fingerprint")
    if stored is None or (dataset_fingerprint(dataset) or "")[:16] != stored:
        raise UserError("The data set is not the one of the evaluation: its images or labels have changed.")
    return dataset


def _images(
    predictions: Predictions,
    which: str,
    chosen: Mapping[str, list[tuple[int, float]]],
    row: ResultRow,
    dataset: Any,
    named: bool,
) -> dict[str, list[dict[str, Any]]]:
    """Thumbnails of images (:func:`.scores.most_confident`), with their names, classes and confidences.

    Without ``named`` the names are rows.
    """
    predicted = predictions.test[which].predicted
    names = row.source.get("classes") or list(map(str, range(predictions.num_classes)))
    root = str(getattr(dataset, "data_root", "") or "").rstrip("/")

    def words(labels: np.ndarray) -> str:
        if labels.ndim == 0:
            return str(names[int(labels)])
        return " + ".join(name for name, one in zip(names, labels, strict=True) if one) or "none"

    found = {}
    for kind, members in chosen.items():
        places = [place for place, _ in members]
        numbers = predictions.images[places].tolist()
        files = file_names(dataset, numbers, root) if named else None
        pictures: Sequence[torch.Tensor] = ()
        if places:
            with user_errors("The images of the data set"):
                pictures = tuple(
                    read_thumbnails(dataset, torch.tensor(numbers), batch_size=SHOWN, num_workers=0)
                )
        found[kind] = [
            {
                "uri": Picture("", "", _png(picture.permute(1, 2, 0).numpy())).uri,
                "name": name,
                "true": words(predictions.labels[place]),
                "predicted": words(predicted[place]),
                "confidence": f"{100 * own:.1f} %",
            }
            for (place, own), name, picture in zip(
                members, files or [f"row {number}" for number in numbers], pictures, strict=True
            )
        ]
    return found


def _png(pixels: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()

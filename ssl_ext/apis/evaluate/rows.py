"""Result rows of an evaluation and the drawn rows, written after every measurement."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.logging import print_log

from ssl_ext.config.data import data_content
from ssl_ext.datasets.files import locked
from ssl_ext.env import package_versions, source_commit
from ssl_ext.evaluation import ResultRow, text_hash, write_results
from ssl_ext.evaluation.class_counts import class_counts, majority, short_counts
from ssl_ext.evaluation.identity import measurement_key
from ssl_ext.evaluation.predictions import Predictions
from ssl_ext.evaluation.results import cautions
from ssl_ext.files import check_writable, replacing

from .data import EvaluationData
from .files import (
    OWN_FOLDERS,
    PREDICTIONS,
    RESULTS,
    SUBSETS,
    Earlier,
    SavedNetworks,
    earlier_row,
    read_earlier,
    store,
)
from .plan import Labels, Measurement
from .protocols import Measured


class ResultRows:
    """Writer of ``folder/results.json`` with the rows of all measurements so far.

    A row replaces the row of the same measurement in the file; other rows of the file are kept after the new
    ones. Drawn rows of the train split are in ``subsets.npz``, int32, under the name in
    ``settings.labels.rows`` of a result row; scores of images are in ``predictions/``, a file for each row.

    Args:
        config: Config of the evaluation.
        folder: Folder of the files.
        device: Device of the networks.
        earlier: Rows and subsets already in the folder, from :func:`read_earlier`.
        networks: Writer of the trained networks, if they are kept.

    Raises:
        UserError: The folder cannot be written to.
    """

    def __init__(
        self,
        config: Config,
        folder: Path,
        device: torch.device,
        earlier: Earlier,
        networks: SavedNetworks | None = None,
    ) -> None:
        self.folder, self.networks = folder, networks
        plain = config.to_dict()
        self.about = {
            "config": config.filename,
            "config_hash": text_hash(json.dumps(plain, sort_keys=True, default=str)),
            "device": str(device),
            "versions": package_versions(),
            "commit": source_commit(),
            "command": shlex.join(sys.argv),
        }
        self.rows: list[ResultRow] = []
        self.earlier, self.subsets = earlier
        self.said: set[str] = set()
        self.intervals: dict[str, dict[str, Any]] = {}
        self.new_subset, self.written = False, b""
        self.contents: dict[int, dict[str, Any]] = {}
        if is_main_process():
            check_writable(folder, "--out")

    def add(self, measurement: Measurement, measured: Measured) -> None:
        """Add the row of a measurement, write all rows and log it."""
        labels, data = measurement.labels, measured.seeded.data
        row = ResultRow(
            method=measurement.method,
            protocol=measurement.protocol,
            last=measured.outcome.last,
            best=measured.outcome.best,
            settings={
                **measured.outcome.settings,
                **data.splits.settings,
                "labels": self._describe(labels, measured),
                **measured.settings,
            },
            sizes=measured.sizes,
            seed=measurement.seed,
            labels_per_class=labels.per_class,
            draw=labels.draw,
            cost=measured.cost,
            source={
                **self.about,
                "dataset": data.dataset,
                "classes": data.splits.train.classes,
                **self.content(data),
                **measured.source,
            },
            budget=labels.budget,
            fraction=labels.fraction,
            mode=measurement.mode,
            target=measurement.target,
            by=labels.by,
            recipe=measured.recipe,
            balance=measurement.balance,
            curves=measured.outcome.curves,
        )
        if self.networks and (path := self.networks.save(row, measurement, measured)):
            inside = path.resolve().is_relative_to(self.folder.resolve())
            row.saved = os.path.relpath(path, self.folder) if inside else str(path.resolve())
        if (predictions := measured.outcome.predictions) is not None:
            placed = predictions.placed(data.splits.test, measured.seeded.val_groups(labels))
            self._add_predictions(row, measurement, placed)
        self.rows.append(row)
        replaced = self.earlier.pop(measurement_key(row), None)
        self._write()
        if replaced is not None:
            self._remove(replaced.predictions)
            self._remove(replaced.saved if row.saved else None)
        name, value = next((name, value) for name, value in row.last.items() if isinstance(value, float))
        text = f"{100 * value:.2f} %" if name == "acc" else f"{name} {value:.4f}"
        used = row.settings["labels"]
        unit = "images" if measurement.protocol == "quality" else "labels"
        words = f"{used['trained_on']} {unit}" + f", {used['chose']} for selection" * bool(used["chose"])
        print_log(f"{measurement.words}: {text} ({words}) in {row.cost['wall_s']:.1f} s", logger="current")
        for words in cautions(row):
            self._say(f"{measurement.words}: {words}")

    def take(self, one: Measurement, about: dict[str, Any], recipe: str) -> bool:
        """Add the row of an earlier measurement with the same config, weights and data, if there is one."""
        found = earlier_row(self.earlier.values(), one, about, recipe)
        if found is None or (found.predictions and not (self.folder / found.predictions).is_file()):
            return False
        if self.networks and not self.networks.holds(found, one, self.folder):
            return False
        self.rows.append(self.earlier.pop(measurement_key(found)))
        return True

    def content(self, data: EvaluationData) -> dict[str, Any]:
        """Return fingerprints, files and class counts of the splits."""
        if id(data) not in self.contents:
            named = {"train": data.splits.train, "val": data.splits.val, "test": data.splits.test}
            counts = {
                name: class_counts(split.labels, data.task["num_classes"])
                for name, split in named.items()
                if split is not None
            }
            single = data.task["task"] != "multi-label" and data.splits.test is not None
            self.contents[id(data)] = {
                "data": data_content(data.splits),
                "class_counts": {name: short_counts(found) for name, found in counts.items()},
                "majority": majority(counts["train"], counts["test"]) if single else None,
            }
        return self.contents[id(data)]

    def _add_predictions(self, row: ResultRow, measurement: Measurement, predictions: Predictions) -> None:
        """Write scores to a file named by their hash, so a row never refers to other scores."""
        content = predictions.content()
        digest = hashlib.sha256(content).hexdigest()[:16]
        if digest not in self.intervals:
            self.intervals[digest] = predictions.described_intervals()
        path = store(self.folder / PREDICTIONS, measurement.words, content, ".npz")
        row.intervals, row.predictions = self.intervals[digest], f"{PREDICTIONS}/{path.name}"

    def _remove(self, name: str | None) -> None:
        """Delete a file of scores or weights in a folder of this evaluation that no row refers to."""
        used = {name for row in (*self.rows, *self.earlier.values()) for name in (row.predictions, row.saved)}
        if is_main_process() and name and name not in used and Path(name).parent in OWN_FOLDERS:
            (self.folder / name).unlink(missing_ok=True)

    def _describe(self, labels: Labels, measured: Measured) -> dict[str, Any]:
        """Describe how labels were drawn and used; warn once if fewer than requested exist."""
        seeded = measured.seeded
        chosen = bool(measured.outcome.settings.get("chosen_on_validation"))
        counts = {"trained_on": measured.sizes["train"], "chose": measured.sizes["val"] if chosen else 0}
        if labels.whole:
            return {"drawn": False, **counts}
        rows, short = seeded.rows(labels).trained.numpy().astype(np.int32), seeded.short_classes(labels)
        unit, units, groups = "labels", len(rows), seeded.data.splits.groups
        if labels.by_group and groups is not None:
            unit, units = "groups", len(np.unique(groups[rows]))
        if short:
            few = ", ".join(f"{index} ({count})" for index, count in short.items())
            self._say(f"{labels.per_class} {unit} per class: these classes have fewer: {few}.")
        if labels.budget is not None and units < labels.budget and not labels.undersampled:
            self._say(f"Budget of {labels.budget} {unit}: only {units} can be drawn, all are used.")
        digest = hashlib.sha256(rows.tobytes()).hexdigest()[:16]
        name, data = labels.name, seeded.data
        drawn = short_counts(class_counts(data.labels[seeded.rows(labels).trained], data.task["num_classes"]))
        self._say(f"{name}: {len(rows)} labels, by class: {drawn}", logging.INFO)
        if not np.array_equal(self.subsets.get(name, rows), rows):  # drawn from other data
            name = f"{name}_{digest}"
        if name not in self.subsets:
            self.subsets[name] = rows
            self.new_subset = True
        return {
            "drawn": True,
            **({"groups": units} if labels.by_group else {}),
            "seed": labels.draw_seed,
            "file": SUBSETS,
            "rows": name,
            "sha256": digest,
            "class_counts": drawn,
            "short_classes": short,
            **counts,
        }

    def _write(self) -> None:
        if not is_main_process():
            return
        (self.folder / PREDICTIONS).mkdir(parents=True, exist_ok=True)
        path = self.folder / RESULTS
        with locked(self.folder / PREDICTIONS):
            if not path.exists() or path.read_bytes() != self.written:  # by another evaluation
                rows, subsets = read_earlier(self.folder)
                for row in self.rows:
                    rows.pop(measurement_key(row), None)
                self.earlier, self.subsets = rows, {**subsets, **self.subsets}
            if self.new_subset:
                with replacing(self.folder / SUBSETS) as file:
                    np.savez_compressed(file, **self.subsets)  # type: ignore[arg-type]
                self.new_subset = False
            write_results(path, [*self.rows, *self.earlier.values()])
            self.written = path.read_bytes()

    def _say(self, message: str, level: int = logging.WARNING) -> None:
        if message not in self.said:
            self.said.add(message)
            print_log(message, logger="current", level=level)

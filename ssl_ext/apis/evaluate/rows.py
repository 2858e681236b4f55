"""The result rows of one evaluation, written after every measurement, and the rows that were drawn."""

from __future__ import annotations

import hashlib
import io
import json
import logging
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.logging import print_log

from ssl_ext.env import package_versions
from ssl_ext.errors import user_errors
from ssl_ext.evaluation import Condition, Outcome, ResultRow, measure_cost, text_hash, write_results
from ssl_ext.files import replacing

from .data import LabelSet, SeededData

RESULTS, SUBSETS = "results.json", "subsets.npz"


class ResultRows:
    """Runs measurements and keeps their rows in ``folder``: an evaluation that is stopped loses none.

    The rows of the train split that were drawn stand in ``subsets.npz``, int32, under the name that
    ``settings.labels.rows`` of a result row gives.
    """

    def __init__(self, config: Config, folder: Path, device: torch.device) -> None:
        self.folder = folder
        plain = config.to_dict()
        self.about = {
            "config": config.filename,
            "config_hash": text_hash(json.dumps(plain, sort_keys=True, default=str)),
            "device": str(device),
            "versions": package_versions(),
        }
        self.rows: list[ResultRow] = []
        self.told: set[str] = set()
        self.subsets: dict[str, np.ndarray] = {}
        self.measured: dict[Hashable, tuple[Outcome, dict[str, float]]] = {}

    def add(
        self,
        run: Callable[[], Outcome],
        *,
        key: Hashable,
        method: str,
        protocol: str,
        seeded: SeededData,
        labels: LabelSet,
        sizes: dict[str, int],
        source: dict[str, Any],
        mode: str | None = None,
        settings: dict[str, Any] | None = None,
    ) -> None:
        """Add the row of a measurement; ``run`` is not called where ``key`` has been measured before."""
        data = seeded.data
        if key not in self.measured:
            with user_errors(f"{method}, {protocol}"), measure_cost() as cost:
                outcome = run()
            self.measured[key] = outcome, cost
        outcome, cost = self.measured[key]
        row = ResultRow(
            method=method,
            protocol=protocol,
            last=outcome.last,
            best=outcome.best,
            settings={
                **outcome.settings,
                **data.splits.settings,
                "labels": self._describe(labels),
                **(settings or {}),
            },
            sizes=sizes,
            seed=seeded.seed,
            labels_per_class=labels.labels_per_class,
            draw=labels.draw,
            cost=cost,
            source={
                **self.about,
                "dataset": data.config.to_dict()["evaluation_dataset"],
                "classes": data.splits.train.classes,
                **source,
            },
            budget=labels.budget,
            fraction=labels.fraction,
            mode=mode,
            target=data.target,
        )
        self.rows.append(row)
        self._write(labels)
        self._report(row)

    def _describe(self, labels: LabelSet) -> dict[str, Any]:
        """How the labels were drawn; a shortage is also said in the log, once."""
        if labels.whole:
            return {"drawn": False}
        if labels.short:
            counts = ", ".join(f"{index} ({count})" for index, count in labels.short.items())
            self._warn(f"{labels.labels_per_class} labels per class: these classes have fewer: {counts}.")
        if labels.budget is not None and len(labels.rows) < labels.budget:
            self._warn(
                f"Budget of {labels.budget} labels: only {len(labels.rows)} can be drawn, all are used."
            )
        rows = labels.rows.numpy().astype(np.int32)
        return {
            "drawn": True,
            "seed": labels.seed,
            "file": SUBSETS,
            "rows": labels.name,
            "sha256": hashlib.sha256(rows.tobytes()).hexdigest()[:16],
            "short_classes": labels.short,
        }

    def _write(self, labels: LabelSet) -> None:
        new = not labels.whole and labels.name not in self.subsets
        if new:
            self.subsets[labels.name] = labels.rows.numpy().astype(np.int32)
        if not is_main_process():
            return
        if new:
            content = io.BytesIO()
            np.savez_compressed(content, **self.subsets)
            with replacing(self.folder / SUBSETS) as file:
                file.write(content.getvalue())
        write_results(self.folder / RESULTS, self.rows)

    def _report(self, row: ResultRow) -> None:
        shown = {name: value for name, value in row.last.items() if isinstance(value, float)}
        name, value = next(iter(shown.items()))
        text = f"{100 * value:.2f} %" if name == "acc" else f"{name} {value:.4f}"
        draw = "" if row.draw is None else f", draw {row.draw}"
        print_log(
            f"{row.method}: {Condition.of(row).words}, seed {row.seed}{draw}: {text} "
            f"in {row.cost['wall_s']:.1f} s",
            logger="current",
        )

    def _warn(self, message: str) -> None:
        if message not in self.told:
            self.told.add(message)
            print_log(message, logger="current", level=logging.WARNING)

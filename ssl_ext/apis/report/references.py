"""Published figures, and the reasons why a result row is not comparable with them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ssl_ext.config.load import load_config, parse_options
from ssl_ext.config.papers import Cell, find_config, find_tables, read_table
from ssl_ext.errors import user_errors
from ssl_ext.evaluation import Condition, ResultRow
from ssl_ext.evaluation.conditions import MODES
from ssl_ext.evaluation.identity import flat
from ssl_ext.evaluation.metric_names import check_metric
from ssl_ext.evaluation.results import CLASSIFICATION, UNTRAINED

from .comparison import data_name

# Protocols that train on labels of the data set.
PROTOCOLS = ("budget", "linear", "finetune", "semi", "supervised")
# Settings of a data set that depend on the machine.
LOCAL = ("data_root", "download", "device")


def labels_name(condition: Condition) -> str:
    """The heading of a number of labels.

    >>> labels_name(Condition("budget", budget=100)), labels_name(Condition("linear", labels_per_class=10))
    ('100', '10/class')
    >>> labels_name(Condition("semi", fraction=0.01)), labels_name(Condition("supervised"))
    ('1 %', 'all')
    """
    unit = "" if condition.by is None else f" {condition.by}s"
    if condition.budget is not None:
        return f"{condition.budget}{unit}"
    if condition.labels_per_class is not None:
        return f"{condition.labels_per_class}{unit}/class"
    return "all" if condition.fraction in (None, 1) else f"{100 * condition.fraction:g} %{unit}"


def mode_of(condition: Condition) -> str:
    """``'frozen'`` or ``'unfrozen'``: the backbone."""
    return condition.mode or MODES[condition.protocol]


@dataclass(frozen=True)
class Reference:
    """A published figure, in [0, 1] for accuracies, and its cell in the published table.

    ``recipes`` are readings of the publication's recipe, ``which`` is its epoch (None: unknown), and
    ``folder`` is that of the table.
    """

    figure: float
    metric: str
    source: str
    cell: Cell
    condition: Condition
    recipes: Sequence[str]
    folder: Path
    which: str | None = None

    @property
    def method(self) -> str:
        """``'supervised'``, ``'untrained'``, or ``''`` for a pretrained network."""
        if self.condition.protocol == "supervised":
            return "supervised"
        return "" if self.cell.pretrain else "untrained"

    def of_row(self, row: ResultRow, metric: str) -> bool:
        """Tell if the figure is of a row's config, data set, labels and mode."""
        condition, stem = Condition.from_row(row), Path(str(row.source.get("config") or "")).stem
        pretrained = (row.source.get("checkpoint") or {}).get("path") is not None
        return (
            metric == self.metric
            and (row.method == self.method if self.method else pretrained)
            and stem in (self.cell.config, stem if self.method == "supervised" else None)
            and _plain(data_name(row)) == _plain(str(self.cell.config).rpartition("_")[2])
            and (mode_of(condition), labels_name(condition))
            == (mode_of(self.condition), labels_name(self.condition))
        )

    @cached_property
    def config(self) -> Config:
        """Config of the cell."""
        return self._load(str(self.cell.config), self.cell.options)

    @cached_property
    def trained(self) -> Config | None:
        """Config of the pretraining; None for random weights or a weight file."""
        stem = self.cell.pretrain
        if stem is True:
            return self.config
        return self._load(stem) if isinstance(stem, str) and not stem.endswith(".pth") else None

    def _load(self, stem: str, options: Sequence[str] = ()) -> Config:
        return load_config(find_config(stem, self.folder), parse_options(options))

    def differences(self, row: ResultRow, which: str) -> list[str]:
        """List the differences of a row's epoch from the publication, including facts not recorded."""
        alike = row.recipe in self.recipes or (row.protocol in UNTRAINED and self.recipes)
        found = [] if alike or row.protocol == CLASSIFICATION else [self._recipe(row)]
        if row.balance:
            found.append(f"it is trained with {row.balance}")
        if self.which not in (None, which) and row.best != row.last:
            found.append(f"it is of the {which} epoch, not of the {self.which} (--which {self.which})")
        network = {key: self.config.model.to_dict().get(key) for key in ("backbone", "neck")}
        if self.method == "supervised":
            del network["neck"]
        measured = row.source.get("network")
        if measured is None:
            found.append("its network is not recorded")
        elif dict(flat(network)) != dict(flat({key: measured.get(key) for key in network})):
            found.append("another network")
        files = [file for split in (row.source.get("data") or {}).values() for file in split.get("files", ())]
        if not row.source.get("data"):
            found.append("its data files are not recorded")
        elif any(file.get("official") is False for file in files):
            found.append("its data file is not the official one")
        return found if self.method else found + self._pretraining(row)

    def _recipe(self, row: ResultRow) -> str:
        if not self.recipes:
            return f"its recipe is {row.recipe}, but the publication does not state its recipe"
        return f"its recipe is {row.recipe}, not {' or '.join(self.recipes)}"

    def _pretraining(self, row: ResultRow) -> list[str]:
        about, checkpoint = row.source.get("pretraining") or {}, row.source.get("checkpoint") or {}
        found = ["only a part of its weights was loaded"] if checkpoint.get("partial") else []
        if self.trained is None:  # the hash is a part of the name of torchvision's files
            name = Path(str(self.cell.pretrain)).stem
            same = str(checkpoint.get("sha256", "")).startswith(name.rpartition("-")[2])
            return found if same else [*found, f"its weights are not {name}"]
        method = str(self.trained.model.type).rpartition(".")[2]
        if row.method != method:
            found.append(f"its method is {row.method}, not {method}")
        if _data(about.get("datasets")) != _data([self.trained.train_dataloader.dataset.to_dict()]):
            found.append(
                "its pretraining data differ" if about.get("datasets")
                else "its pretraining data are not recorded"
            )  # fmt: skip
        epochs = self.trained.train_cfg.get("max_epochs")
        if about.get("epoch") != epochs:
            found.append(f"its pretraining epochs are {about.get('epoch', 'unknown')}, not {epochs}")
        start = self._load(self.cell.init).train_dataloader.dataset.to_dict() if self.cell.init else None
        weights = about.get("initial_weights") or {}
        same = _data(weights.get("datasets")) == _data([start]) if start else not weights
        if not same:
            found.append("its pretraining started from other weights")
        return found


class Published:
    """Text of published figures beside measured ones, and the notes that explain it."""

    def __init__(self) -> None:
        self.sources: dict[str, None] = {}
        self.unlike: dict[str, dict[Any, None]] = {}

    def beside(self, printed: str, source: str, place: Any, differences: Sequence[str]) -> str:
        """Return the figure in brackets, or † if there are differences; ``place`` identifies the cell."""
        if differences:
            self.unlike.setdefault("; ".join(differences), {})[place] = None
            return " †"
        self.sources[source] = None
        return f" ({printed})"

    def notes(self, words: Callable[[Sequence[Any]], str] = "; ".join) -> list[str]:
        """Name the publications in brackets, and explain each †; ``words`` lists places."""
        about = [f"In brackets: {'; '.join(self.sources)}"] if self.sources else []
        return about + [
            f"† not comparable with the published figure, because {why}: {words(list(places))}."
            for why, places in self.unlike.items()
        ]


@dataclass(frozen=True)
class References:
    """Published figures."""

    entries: Sequence[Reference] = ()

    def of_rows(
        self, rows: Sequence[ResultRow], metric: str, which: str
    ) -> tuple[Reference, list[str]] | None:
        """Return the published figure closest to an epoch of the repeats and their differences, or None."""
        near = [entry for entry in self.entries if all(entry.of_row(row, metric) for row in rows)]
        found = [
            (entry, list(dict.fromkeys(words for row in rows for words in entry.differences(row, which))))
            for entry in near
        ]
        return min(found, key=lambda one: len(one[1]), default=None)


def read_references(place: str | os.PathLike) -> References:
    """Read references from a table, or from all tables of a folder (:mod:`ssl_ext.config.papers`).

    Configs are searched for in the folders beside the table's, then in the package.

    Raises:
        UserError: The path does not exist, a file is not a table, or its metric is unknown.
    """
    entries = []
    for path in find_tables(place):
        table = read_table(path)
        scale = 100 if table.unit == "%" else 1
        for cell in table.cells:
            with user_errors(f"'{path}', a cell's evaluate"):
                condition = _condition(cell)
            if cell.published is None or condition is None:
                continue
            check_metric(cell.metric, f"'{path}'")
            figure = cell.published / scale
            about = cell, condition, table.recipes, table.folder, table.which
            entries.append(Reference(figure, cell.metric, table.source, *about))
    return References(entries)


def _condition(cell: Cell) -> Condition | None:
    """Return the condition of a cell; None if result rows do not identify it."""
    request: Mapping[str, str] = {name: str(value) for name, value in (cell.evaluate or {}).items()}
    protocol = request.get("protocols", "linear" if request.get("modes") == "frozen" else "finetune")
    # Rows do not record overrides.
    if cell.config is None or cell.options or protocol not in PROTOCOLS:
        return None
    budget, fraction, each = (request.get(name) for name in ("budgets", "fractions", "labels_per_class"))
    return Condition(
        protocol,
        labels_per_class=int(each) if each else None,
        budget=int(budget) if budget and budget != "all" else None,
        fraction=float(fraction) if fraction else None,
        mode=request.get("modes"),
    )


def _data(datasets: Sequence[Mapping[str, Any]] | None) -> list[dict[str, str]] | None:
    """Flatten data set configs, without the keys in :data:`LOCAL`."""
    if not datasets:
        return None
    return [dict(flat({key: v for key, v in one.items() if key not in LOCAL})) for one in datasets]


def _plain(name: str) -> str:
    return name.lower().replace("-", "")

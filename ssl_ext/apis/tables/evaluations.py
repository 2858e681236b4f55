"""Evaluations of cells.

Cells of one network share a call of the evaluation if they differ in numbers of labels and modes alone, or if
their protocols read the same frozen features.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ssl_ext.config.recipes import RECIPES
from ssl_ext.errors import UserError
from ssl_ext.evaluation.results import CLASSIFICATION, OWN
from ssl_ext.names import MODES, PROTOCOLS

from .jobs import CHECKPOINT, RUN, Job, digest

LABELS = ("budgets", "fractions", "labels_per_class")
ARGUMENTS = {"protocols", "modes", "transfer_to", "by", *LABELS}
# The field of a result row for each.
FIELDS = dict(budgets="budget", fractions="fraction", labels_per_class="labels_per_class")
FEATURES = ("knn", "linear", "cluster", "quality")
FINETUNED = ("finetune", "semi", "supervised")


@dataclass
class Evaluation:
    """Arguments of one call; :meth:`joined` adds those of another cell.

    ``shared`` has, by option, the values that are joined; ``fixed`` those common to the cells of a call.
    """

    fixed: dict[str, list[str]]
    shared: dict[str, list[str]]
    words: list[str] = field(default_factory=list)
    after: str | None = None
    about: dict[str, Any] = field(default_factory=dict)
    data: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)

    @property
    def protocols(self) -> list[str]:
        """Protocols of the call."""
        return self.shared.get("protocols", self.fixed.get("protocols", []))

    @property
    def stage(self) -> str:
        """Stage of the job."""
        if "transfer" in self.protocols:
            return "transfer"
        trained = {*self.protocols, *self.fixed.get("baselines", [])}
        return "finetune" if set(FINETUNED) & trained else "evaluate"

    def joined(self, other: Evaluation) -> Evaluation:
        """Add the numbers of labels and the modes of another call."""
        shared = {
            name: list(dict.fromkeys([*values, *other.shared[name]]))
            for name, values in self.shared.items()
        }  # fmt: skip
        return replace(self, shared=shared)

    def place(
        self,
        path: Path,
        options: Sequence[str],
        trained: str | None,
        weights: str | None,
        seed: int,
        data: list[tuple[str, Mapping[str, Any]]],
    ) -> None:
        """Set config, weights and seed."""
        start = weights or (CHECKPOINT + trained if trained else None)
        self.words = [str(path), *([start] if start else [])]
        self.after, self.data = trained, data
        self.about = dict(config=path.stem, options=list(options), seed=seed)

    def job(self, key: str, folder: Path, draws: int) -> Job:
        """The job, in a folder of ``folder``."""
        name = f"{self.stage}-{digest([key, {one: sorted(values) for one, values in self.shared.items()}])}"
        words = ["ssl-ext", "evaluate", *self.words, "--protocols", *self.protocols]
        words += ["--seeds", str(self.about["seed"]), "--draws", str(draws)]
        for option, values in (*self.shared.items(), *self.fixed.items()):
            if values and option != "protocols":
                words += [f"--{option.replace('_', '-')}", *values]
        words += ["--out", str(folder / name / RUN), "--resume"]
        options = self.about["options"]
        words += ["--cfg-options", *options] if options else []
        return Job(
            name, self.stage, words, os.getcwd(), [self.after] if self.after else [],
            results=f"{RUN}/results.json", **self.about,
        )  # fmt: skip


def evaluation_of(
    asked: Mapping[str, Any], recipes: Sequence[str]
) -> tuple[Evaluation, dict[str, Any], list[str]]:
    """The call of one cell, the fields of its rows, and their recipes: the table's, then ``'own'``.

    Args:
        asked: Arguments of ``tools/evaluate.py`` (``EVALUATE`` of the table).
        recipes: Recipes of the table.

    Raises:
        UserError: An unknown argument or protocol, or several protocols.
    """
    if wrong := sorted(set(asked) - ARGUMENTS):
        raise UserError(f"EVALUATE: {wrong[0]} is unknown; allowed are {', '.join(sorted(ARGUMENTS))}.")
    protocols = _listed(asked.get("protocols", []))
    if len(protocols) > 1 or (protocols and protocols[0] not in PROTOCOLS):
        allowed = ", ".join((*PROTOCOLS, CLASSIFICATION, "detection", "log"))
        raise UserError(f"EVALUATE: protocols={asked['protocols']!r}: a cell has one of {allowed}.")
    shared = {name: _listed(asked[name]) for name in LABELS if name in asked}
    protocol = protocols[0] if protocols else ""
    modes = _listed(asked.get("modes", MODES[0]))
    moded = protocol in ("budget", "transfer", "")
    baselines = [protocol] if protocol == "supervised" and shared else []
    if baselines:
        # As a protocol it would also train on all labels. These protocols draw the labels that it shares.
        drawn = dict(budgets="budget", fractions="semi")
        protocols = [drawn[name] for name in shared if name in drawn]
    if moded:
        shared["modes"] = modes
    select: dict[str, Any] = dict(protocol=protocol, mode=modes[0] if moded and protocol else None)
    select |= dict.fromkeys(FIELDS.values())
    for name, values in shared.items():
        if name != "modes":
            select[FIELDS[name]] = _number(values[0])
    if not protocol:
        select["protocol"] = "linear" if modes[0] == "frozen" else "finetune"
    targets = list(asked.get("transfer_to", ()))
    if targets:
        select["target"] = Path(targets[0]).stem
    keys = recipe_keys([*protocols, *baselines], modes)
    named = [name for name in recipes if keys and all(key in RECIPES[name] for key in keys)]
    if named and keys == {"linear"} and protocol in ("linear", "transfer") and OWN not in named:
        # The converged probe stands beside a paper's.
        named.append(OWN)
    fixed = dict(
        protocols=protocols, baselines=baselines, recipe=named, transfer_to=targets,
        by=_listed(asked.get("by", [])),
    )  # fmt: skip
    if protocol in FEATURES and not shared:
        shared = {name: fixed.pop(name) for name in ("protocols", "recipe")}
    return Evaluation(fixed, shared), select, named


def recipe_keys(protocols: Sequence[str], modes: Sequence[str]) -> set[str]:
    """Keys in ``config.evaluation`` of the recipes that a call uses, of protocols that train."""
    keys = set()
    for protocol in protocols or [""]:
        if protocol in ("", "budget", "transfer"):
            keys |= {"linear" if mode == "frozen" else "finetune" for mode in modes}
        elif protocol in ("linear", "linear-aug"):
            keys.add(protocol.replace("-", "_"))
        elif protocol in FINETUNED:
            keys.add("finetune")
    return keys


def _listed(value: Any) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list | tuple) else [str(value)]


def _number(text: str) -> float | int | None:
    """A number of labels as result rows have it.

    >>> _number("100"), _number("0.01"), _number("all")
    (100, 0.01, None)
    """
    if text == "all":
        return None
    return int(text) if text.isdigit() else float(text)

"""Condition of a result row, and its name in tables."""

from __future__ import annotations

from typing import NamedTuple

from .results import OWN, UNRECORDED, UNTRAINED, ResultRow

MODES = {
    "knn": "frozen",
    "cluster": "frozen",
    "quality": "frozen",
    "linear": "frozen",
    "linear-aug": "frozen",
    "finetune": "unfrozen",
    "semi": "unfrozen",
    "supervised": "unfrozen",
}


class Condition(NamedTuple):
    """Fields that repeats of a measurement share: protocol, labels, mode, target, unit, recipe, balance."""

    protocol: str
    labels_per_class: int | None = None
    budget: int | None = None
    fraction: float | None = None
    mode: str | None = None
    target: str | None = None
    by: str | None = None
    recipe: str = OWN
    balance: str | None = None

    @classmethod
    def from_row(cls, row: ResultRow) -> Condition:
        """Condition of a result row."""
        return cls(*(getattr(row, name) for name in cls._fields))

    @property
    def labels(self) -> tuple[int | None, int | None, float | None]:
        """Labels per class, budget and fraction."""
        return self.labels_per_class, self.budget, self.fraction

    def of(self, method: str) -> str:
        """Method and condition in words.

        >>> Condition("budget", budget=100).of("SimCLR"), Condition("supervised").of("supervised")
        ('SimCLR, budget, 100 labels', 'supervised, all labels')
        """
        return self.words if self.protocol == method else f"{method}, {self.words}"

    @property
    def words(self) -> str:
        """Text for a table heading.

        >>> Condition("transfer", labels_per_class=10, mode="frozen", target="PathMNIST").words
        'transfer to PathMNIST, 10 labels/class, frozen'
        >>> Condition("linear", recipe="trimix-sgd").words
        'linear, all labels, trimix-sgd'
        >>> Condition("linear", balance="class weights").words
        'linear, all labels, class weights'
        """
        unit = "labels" if self.by is None else f"{self.by}s"
        parts = ["kNN" if self.protocol == "knn" else self.protocol]
        if self.target is not None:
            parts[0] += f" to {self.target}"
        if self.labels_per_class is not None:
            parts.append(f"{self.labels_per_class} {unit}/class")
        if self.budget is not None:
            parts.append(f"{self.budget} {unit}")
        if self.fraction is not None:
            parts.append(f"{100 * self.fraction:g} % of {unit}")
        if self.labels == (None, None, None) and self.protocol in ("linear", "supervised", "budget"):
            parts.append("all labels")
        if self.mode is not None and self.mode != MODES.get(self.protocol):
            parts.append(self.mode)
        if self.recipe != OWN and self.protocol not in UNTRAINED:
            parts.append("recipe not recorded" if self.recipe == UNRECORDED else self.recipe)
        return ", ".join([*parts, *([self.balance] if self.balance else [])])

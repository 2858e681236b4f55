"""The plan of an evaluation: its measurements, in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ssl_ext.console import counted
from ssl_ext.evaluation import Balance, Condition
from ssl_ext.evaluation.balance import UNDERSAMPLING
from ssl_ext.evaluation.results import OWN, UNTRAINED

from .request import Request


@dataclass(frozen=True)
class Labels:
    """Labels of the train split that a measurement uses: all of them, or a seeded draw.

    At most one of ``per_class`` (labels of each class), ``budget`` (labels in all) and ``fraction`` (share of
    each class) is set. ``seed`` is the seed of the measurement; ``draw`` counts the draws of one seed.
    ``by_group``: groups are counted and drawn instead of labels. ``undersampled``: of the labels drawn, or of
    all, each class keeps as many as the smallest class has.
    """

    seed: int
    per_class: int | None = None
    budget: int | None = None
    fraction: float | None = None
    draw: int | None = None
    by_group: bool = False
    undersampled: bool = False

    @property
    def by(self) -> str | None:
        """``'group'`` for a draw of groups, else None."""
        return "group" if self.by_group and not self.every else None

    @property
    def every(self) -> bool:
        """True if no number or share of labels is given."""
        return self.per_class is None and self.budget is None and self.fraction in (None, 1)

    @property
    def whole(self) -> bool:
        """True for all labels."""
        return self.every and not self.undersampled

    @property
    def draw_seed(self) -> int:
        """Seed of the draw and of training on it; different for each seed and draw."""
        return self.seed if self.draw is None else 1000 * self.seed + self.draw

    @property
    def name(self) -> str:
        """Name of the drawn rows in ``subsets.npz``; ``'all'`` for all labels.

        >>> Labels(0, budget=100, draw=2).name
        'random-100_seed-0_draw-2'
        """
        if self.whole:
            return "all"
        if self.every:
            return f"undersampled_seed-{self.seed}"
        end = "_undersampled" if self.undersampled else ""
        unit = "groups-" if self.by_group else ""
        if self.fraction is not None:
            return f"{unit}fraction-{self.fraction:g}_seed-{self.seed}{end}"
        kind = f"random-{self.budget}" if self.per_class is None else f"per-class-{self.per_class}"
        return f"{unit}{kind}_seed-{self.seed}_draw-{self.draw}{end}"


@dataclass(frozen=True)
class Measurement:
    """One row of the results, before it is measured.

    ``kind`` is the computation: ``'knn'``, ``'cluster'``, ``'quality'``, ``'linear-aug'``, ``'frozen'`` (a
    linear probe on features) or ``'unfrozen'`` (a trained network). ``target`` is the data set of a transfer,
    ``recipe`` the name of a recipe (:data:`ssl_ext.config.recipes.RECIPES`), None for that of the config,
    ``balance`` that of :class:`ssl_ext.evaluation.Balance` in words.
    """

    method: str
    protocol: str
    kind: str
    labels: Labels
    target: str | None = None
    recipe: str | None = None
    balance: str | None = None

    @property
    def recipe_key(self) -> str:
        """Key of the recipe in ``config.evaluation``."""
        return {"frozen": "linear", "linear-aug": "linear_aug", "unfrozen": "finetune"}.get(
            self.kind, self.kind
        )

    @property
    def seed(self) -> int:
        """Seed of held-out rows, draws and training."""
        return self.labels.seed

    @property
    def mode(self) -> str | None:
        """``'frozen'`` or ``'unfrozen'`` for protocols that have both."""
        return self.kind if self.protocol in ("budget", "transfer") else None

    @property
    def trains_network(self) -> bool:
        """True if images pass the network in every step."""
        return self.kind in ("linear-aug", "unfrozen")

    @property
    def words(self) -> str:
        """The measurement in words.

        >>> Measurement("SimCLR", "budget", "frozen", Labels(0, budget=100, draw=2)).words
        'SimCLR: budget, 100 labels, frozen, seed 0, draw 2'
        """
        labels = self.labels
        condition = Condition(
            self.protocol, labels.per_class, labels.budget, labels.fraction, self.mode, self.target,
            labels.by, self.recipe or OWN, self.balance,
        )  # fmt: skip
        draw = "" if labels.draw is None else f", draw {labels.draw}"
        return f"{self.method}: {condition.words}, seed {self.seed}{draw}"


def plan(request: Request) -> list[Measurement]:
    """All measurements of a request: by method, then by seed; networks from random weights come last."""
    # Rows are named after the algorithm that trained the weights.
    methods = {request.method or "untrained": True}
    for baseline in ("untrained", "pixels"):
        if baseline in request.baselines:
            methods.setdefault(baseline, False)
    measurements = [
        measurement
        for method, trainable in methods.items()
        for seed in request.seeds
        for measurement in _of_method(request, method, seed, trainable)
    ]
    if "supervised" in (*request.protocols, *request.baselines):
        measurements += [one for seed in request.seeds for one in _supervised(request, seed)]
    return [
        _trained(one, recipe, request.balance) if trains else one
        for one in measurements
        for trains in [one.kind not in UNTRAINED]
        for recipe in (request.recipes if trains and request.recipes else (None,))
    ]


def count_words(measurements: Sequence[Measurement]) -> str:
    """Number of measurements, and of those that train a network.

    >>> one = Measurement("SimCLR", "finetune", "unfrozen", Labels(0))
    >>> count_words([one, one, replace(one, kind="knn")])
    '3 measurements, 2 of them by training a network'
    """
    count, trained = len(measurements), sum(one.trains_network for one in measurements)
    words = counted(count, "measurement")
    return words + f", {trained} of them by training a network" if trained and count > 1 else words


def _trained(one: Measurement, recipe: str | None, balance: Balance | None) -> Measurement:
    """A measurement that trains, with its recipe and its balance of classes."""
    if balance is None:
        return replace(one, recipe=recipe)
    labels = replace(one.labels, undersampled=balance.kind == UNDERSAMPLING)
    return replace(one, recipe=recipe, balance=balance.words, labels=labels)


def _of_method(request: Request, method: str, seed: int, trainable: bool) -> Iterator[Measurement]:
    """Measurements of one method and seed; baselines have none that train on images."""
    asked, every = request.protocols, Labels(seed)
    modes = [mode for mode in request.modes if mode == "frozen" or trainable]
    if "knn" in asked:
        yield Measurement(method, "knn", "knn", every)
    if "linear" in asked:
        yield Measurement(method, "linear", "frozen", every)
    if "linear-aug" in asked and trainable:
        yield Measurement(method, "linear-aug", "linear-aug", every)
    if "finetune" in asked and trainable:
        yield Measurement(method, "finetune", "unfrozen", every)
    for labels in _per_class(request, seed):
        for mode in modes:
            yield Measurement(method, "linear" if mode == "frozen" else "finetune", mode, labels)
    for labels in _budgets(request, seed):
        for mode in modes:
            yield Measurement(method, "budget", mode, labels)
    if trainable:
        for labels in _fractions(request, seed):
            yield Measurement(method, "semi", "unfrozen", labels)
    for target in request.targets:
        for mode in modes:
            yield Measurement(method, "transfer", mode, every, target)
    if "cluster" in asked:
        yield Measurement(method, "cluster", "cluster", every)
    if "quality" in asked and method != "pixels":
        yield Measurement(method, "quality", "quality", every)


def _supervised(request: Request, seed: int) -> list[Measurement]:
    """Training from random weights on every set of labels that other measurements of the seed use."""
    every = Labels(seed)
    used = [every] if {"supervised", "finetune"} & set(request.protocols) else []
    used += [*_per_class(request, seed), *_budgets(request, seed), *_fractions(request, seed)]
    sets = [(labels, None) for labels in used] + [(every, target) for target in request.targets]
    return [
        Measurement("supervised", "supervised", "unfrozen", labels, target)
        for labels, target in dict.fromkeys(sets)
    ]


def _per_class(request: Request, seed: int) -> list[Labels]:
    return [
        Labels(seed, per_class=n, draw=draw, by_group=request.by_group)
        for n in request.labels_per_class
        for draw in range(request.draws)
    ]


def _budgets(request: Request, seed: int) -> Iterator[Labels]:
    for budget in request.asked_budgets:
        if isinstance(budget, str):
            yield Labels(seed)
        else:
            yield from (
                Labels(seed, budget=budget, draw=draw, by_group=request.by_group)
                for draw in range(request.draws)
            )


def _fractions(request: Request, seed: int) -> list[Labels]:
    return [Labels(seed, fraction=share, by_group=request.by_group) for share in request.asked_fractions]

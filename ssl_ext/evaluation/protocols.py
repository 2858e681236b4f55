"""Frozen-feature protocols: kNN and the linear probe, with settings selected on validation data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from .feature_bank import FeatureBank
from .knn import choose_k, knn_classify
from .linear import LinearProbe, linear_probes
from .linear_head import LinearHead
from .linear_rows import ProbeData
from .metrics import evaluate_scores
from .predictions import Predictions, Scored


@dataclass(frozen=True)
class Banks:
    """Labelled features for one protocol run.

    Settings are selected by fitting on ``fit`` and scoring on ``val``. If ``val`` was held out of the
    training split, ``final`` is the union of both, on which the classifier is refitted with the selected
    settings. ``test`` is only reported.
    """

    fit: FeatureBank
    val: FeatureBank
    test: FeatureBank
    final: FeatureBank | None = None

    @property
    def sizes(self) -> dict[str, int]:
        """Numbers of rows for the final fit, validation and test."""
        return {"train": len(self.final or self.fit), "val": len(self.val), "test": len(self.test)}


@dataclass(frozen=True)
class Outcome:
    """Test metrics of the last epoch and of the best epoch on validation, settings, and per-image scores.

    ``curves`` lists figures of the training at its validation checks. ``heads`` are the linear classifiers of
    the ``'last'`` and the ``'best'`` epoch; ``network`` is the trained network below them, None if it is
    frozen.
    """

    last: dict[str, Any]
    best: dict[str, Any]
    settings: dict[str, Any]
    predictions: Predictions | None = field(default=None, compare=False, repr=False)
    curves: dict[str, list[float]] = field(default_factory=dict, repr=False)
    heads: Mapping[str, LinearHead] = field(default_factory=dict, compare=False, repr=False)
    network: nn.Module | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(
        cls,
        test: Scored,
        val: Scored,
        settings: dict[str, Any],
        *,
        task: str,
        num_classes: int,
        **trained: Any,
    ) -> Outcome:
        """Compute the outcome of a classifier from its scores of the reported and the validation images.

        ``trained`` are the fields of a classifier that was trained.
        """
        last = best = evaluate_scores(test.last, test.labels, task)
        if test.best is not test.last:
            best = evaluate_scores(test.best, test.labels, task)
        predictions = Predictions.of(test, val, task=task, num_classes=num_classes)
        return cls(last, best, settings, predictions, **trained)


def knn_protocol(
    banks: Banks,
    *,
    num_classes: int,
    task: str,
    k: int | Sequence[int] = 200,
    temperature: float = 0.1,
    weights: str = "exp",
) -> Outcome:
    """Classify the test bank by kNN; from a list, ``k`` is selected on validation data.

    Settings and errors are those of :func:`ssl_ext.evaluation.knn.knn_classify`.
    """
    chosen: dict[str, Any] = {}
    if isinstance(k, Sequence):
        k, rates = choose_k(
            banks.val.features, banks.val.labels, banks.fit.features, banks.fit.labels,
            num_classes=num_classes, ks=k, task=task, temperature=temperature, weights=weights,
        )  # fmt: skip
        chosen = {"chosen_on_validation": {"k": k, "validation_accuracy": rates}}
    bank = banks.final or banks.fit
    test, val = (
        knn_classify(
            queries.features, memory.features, memory.labels,
            num_classes=num_classes, k=k, temperature=temperature, weights=weights,
        )
        for queries, memory in ((banks.test, bank), (banks.val, banks.fit))
    )  # fmt: skip
    settings = {
        "k": k,
        "k_used": min(k, len(bank)),
        "temperature": temperature,
        "weights": weights,
        "metric": "cosine",
        "bank_includes_validation": banks.final is not None,
        **chosen,
    }
    return Outcome.of(
        Scored(test, test, banks.test.labels), Scored(val, val, banks.val.labels), settings,
        task=task, num_classes=num_classes,
    )  # fmt: skip


def linear_protocol(
    banks: Banks, *, num_classes: int, task: str, seed: int, recipe: Mapping[str, Any]
) -> Outcome:
    """Fit a linear probe; ``recipe`` holds arguments of :func:`ssl_ext.evaluation.linear.linear_probe`.

    The epoch, or the l2 strength from a list, is selected on validation data. If ``banks.final`` is given,
    the probe is refitted on it with the selected setting.
    """
    return linear_protocols([banks], num_classes=num_classes, task=task, seeds=[seed], recipe=recipe)[0]


def linear_protocols(
    banks: Sequence[Banks], *, num_classes: int, task: str, seeds: Sequence[int], recipe: Mapping[str, Any]
) -> list[Outcome]:
    """Run :func:`linear_protocol` for several draws or seeds, training their probes together.

    Results equal those of separate runs, see :func:`ssl_ext.evaluation.linear.linear_probes`.
    """
    common: dict[str, Any] = dict(num_classes=num_classes, task=task)
    fits = [
        ProbeData(one.fit.features, one.fit.labels, one.val.features, one.val.labels, seed)
        for one, seed in zip(banks, seeds, strict=True)
    ]
    probes = linear_probes(fits, **common, **recipe)
    chosen = [probe.chosen for probe in probes]
    validated = [scored(probe, one.val) for probe, one in zip(probes, banks, strict=True)]
    again = [i for i, one in enumerate(banks) if one.final is not None]
    # One call per selected l2, because all probes of a call share it.
    for l2 in dict.fromkeys(chosen[i].get("l2") for i in again):
        same = [i for i in again if chosen[i].get("l2") == l2]
        finals = [
            ProbeData(bank.features, bank.labels, seed=seeds[i], keep_epoch=chosen[i].get("best_epoch"))
            for i in same
            if (bank := banks[i].final) is not None
        ]
        settings = recipe if l2 is None else {**recipe, "l2": l2}
        for i, probe in zip(same, linear_probes(finals, **common, **settings), strict=True):
            probes[i] = probe
    return [
        Outcome.of(
            scored(probe, one.test),
            val,
            {
                **probe.settings,
                "fit_includes_validation": one.final is not None,
                "chosen_on_validation": choice,
            },
            **common,
            heads={"last": probe.last, "best": probe.best},
        )
        for one, probe, choice, val in zip(banks, probes, chosen, validated, strict=True)
    ]


def scored(probe: LinearProbe, bank: FeatureBank) -> Scored:
    """Score the images of a bank."""
    last = probe.last.scores(bank.features)
    best = last if probe.best is probe.last else probe.best.scores(bank.features)
    return Scored(last, best, bank.labels)

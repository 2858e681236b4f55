"""The frozen-feature protocols on banks: kNN and the linear probe, chosen on validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .feature_bank import FeatureBank
from .knn import choose_k, knn_classify
from .linear import linear_probe
from .metrics import evaluate_scores


@dataclass(frozen=True)
class Banks:
    """Labelled features for one protocol run.

    ``fit`` serves choices made on ``val``. ``final``, where validation rows were held out of the
    training split, is both together: with the choices made the classifier is fitted on it.
    ``test`` is reported and decides nothing.
    """

    fit: FeatureBank
    val: FeatureBank
    test: FeatureBank
    final: FeatureBank | None = None

    @property
    def sizes(self) -> dict[str, int]:
        """Rows of the final fit, of the validation part and of the test split."""
        return {"train": len(self.final or self.fit), "val": len(self.val), "test": len(self.test)}


@dataclass(frozen=True)
class Outcome:
    """Test metrics of the last epoch and of the one best on validation, and all settings."""

    last: dict[str, float]
    best: dict[str, float]
    settings: dict[str, Any]


def knn_protocol(
    banks: Banks,
    *,
    num_classes: int,
    task: str,
    k: int | Sequence[int] = 200,
    temperature: float = 0.1,
    weights: str = "exp",
) -> Outcome:
    """Classify the test bank by kNN; a list of ``k`` is decided on validation, never on test."""
    chosen: dict[str, Any] = {}
    if isinstance(k, Sequence):
        k, rates = choose_k(
            banks.val.features, banks.val.labels, banks.fit.features, banks.fit.labels,
            num_classes=num_classes, ks=k, task=task, temperature=temperature, weights=weights,
        )  # fmt: skip
        chosen = {"chosen_on_validation": {"k": k, "validation_accuracy": rates}}
    bank = banks.final or banks.fit
    scores = knn_classify(
        banks.test.features, bank.features, bank.labels,
        num_classes=num_classes, k=k, temperature=temperature, weights=weights,
    )  # fmt: skip
    metrics = evaluate_scores(scores, banks.test.labels, task)
    settings = {
        "k": k,
        "k_used": min(k, len(bank)),
        "temperature": temperature,
        "weights": weights,
        "metric": "cosine",
        "bank_includes_validation": banks.final is not None,
        **chosen,
    }
    return Outcome(metrics, metrics, settings)


def linear_protocol(
    banks: Banks, *, num_classes: int, task: str, seed: int, recipe: Mapping[str, Any]
) -> Outcome:
    """A linear probe with the arguments ``recipe`` of :func:`ssl_ext.evaluation.linear.linear_probe`.

    The epoch, or the l2 strength from a list, is chosen on validation. Where ``banks.final`` exists
    the probe is then fitted again on it with that choice.
    """
    common: dict[str, Any] = dict(num_classes=num_classes, task=task, seed=seed)
    probe = linear_probe(
        banks.fit.features, banks.fit.labels, **common, **recipe,
        val_features=banks.val.features, val_labels=banks.val.labels,
    )  # fmt: skip
    chosen = probe.chosen
    if banks.final is not None:
        again = dict(recipe)
        if "l2" in chosen:
            again["l2"] = chosen["l2"]
        else:
            again["keep_epoch"] = chosen["best_epoch"]
        probe = linear_probe(banks.final.features, banks.final.labels, **common, **again)
    settings = {
        **probe.settings,
        "fit_includes_validation": banks.final is not None,
        "chosen_on_validation": chosen,
    }
    last, best = (
        evaluate_scores(head.scores(banks.test.features), banks.test.labels, task)
        for head in (probe.last, probe.best)
    )
    return Outcome(last, best, settings)

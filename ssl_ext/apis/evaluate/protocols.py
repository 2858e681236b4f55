"""One measurement: a protocol on the features, or from the weights, of a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ssl_ext.config.recipes import Recipes
from ssl_ext.errors import user_errors
from ssl_ext.evaluation import (
    Outcome,
    augmented_linear_protocol,
    cluster_protocol,
    knn_protocol,
    linear_protocol,
    measure_cost,
    train_classifier,
)

from .data import EvaluationData, SeededData
from .networks import Networks
from .plan import Measurement


@dataclass(frozen=True)
class Measured:
    """Outcome and cost of a measurement, and what its row reports besides."""

    outcome: Outcome
    cost: dict[str, float]
    sizes: dict[str, int]
    settings: dict[str, Any]
    source: dict[str, Any]
    seeded: SeededData


@dataclass(frozen=True)
class _Job:
    """A protocol that is ready to run; ``any_seed`` if its outcome is the same for every seed."""

    run: Callable[[], Outcome]
    sizes: dict[str, int]
    any_seed: bool = False
    settings: dict[str, Any] = field(default_factory=dict)


class Protocols:
    """Runs measurements; two that ask for the same computation share it."""

    def __init__(self, recipes: Recipes, networks: Networks, data: dict[str | None, EvaluationData]) -> None:
        self.recipes, self.networks, self.data = recipes, networks, data
        self._outcomes: dict[tuple, tuple[Outcome, dict[str, float]]] = {}

    def measure(self, measurement: Measurement) -> Measured:
        """Run a measurement.

        Raises:
            UserError: Training failed, such as by a loss that is not finite.
        """
        data = self.data[measurement.target].seeded(measurement.seed)
        prepare = {
            "knn": self._knn,
            "cluster": self._cluster,
            "frozen": self._probe,
            "linear-aug": self._linear_augmented,
            "unfrozen": self._train,
        }[measurement.kind]
        job = prepare(measurement, data)
        one = measurement
        seed = None if job.any_seed else one.seed
        key = (one.method, one.kind, one.target, one.labels.name, seed)
        if key not in self._outcomes:
            with user_errors(f"{one.method}, {one.protocol}"), measure_cost() as cost:
                outcome = job.run()
            self._outcomes[key] = outcome, cost
        source = self.networks.source(one)
        if one.kind != "unfrozen":
            source["features"] = self.networks.features(one, data.data).about
        return Measured(*self._outcomes[key], job.sizes, job.settings, source, data)

    def _banks(self, measurement: Measurement, data: SeededData) -> Any:
        return data.banks(self.networks.features(measurement, data.data), measurement.labels)

    def _fixed(self, measurement: Measurement, data: SeededData) -> bool:
        # Without held-out rows, network, fit and validation data are the same for every seed.
        return self.networks.same_for_all_seeds(measurement) and data.held_rows is None

    def _knn(self, measurement: Measurement, data: SeededData) -> _Job:
        banks = self._banks(measurement, data)
        return _Job(
            lambda: knn_protocol(banks, **data.data.task, **self.recipes.knn),
            banks.sizes,
            any_seed=self._fixed(measurement, data),
        )

    def _cluster(self, measurement: Measurement, data: SeededData) -> _Job:
        banks, recipe = self._banks(measurement, data), self.recipes.cluster
        return _Job(
            lambda: cluster_protocol(banks, seed=measurement.seed, **data.data.task, **recipe), banks.sizes
        )

    def _probe(self, measurement: Measurement, data: SeededData) -> _Job:
        labels = measurement.labels
        recipe = self.recipes.few_labels if labels.few else self.recipes.linear
        banks = self._banks(measurement, data)
        return _Job(
            lambda: linear_protocol(banks, **data.data.task, seed=labels.draw_seed, recipe=recipe),
            banks.sizes,
            # L-BFGS draws nothing.
            any_seed=recipe.get("solver") == "lbfgs" and labels.whole and self._fixed(measurement, data),
            settings=self.networks.normalization(measurement),
        )

    def _linear_augmented(self, measurement: Measurement, data: SeededData) -> _Job:
        settings, labels, source = self.recipes.linear_aug, measurement.labels, data.data
        network, banks = self.networks.get(measurement), self._banks(measurement, data)
        view = self.networks.view(settings)
        assert network is not None

        def run() -> Outcome:
            return augmented_linear_protocol(
                lambda images: network((view or network.clean)(images)),
                source.splits.train, data.rows(labels), val=banks.val, test=banks.test, model=network.model,
                recipe=settings.recipe, num_workers=source.loading["num_workers"], seed=measurement.seed,
                **source.task,
            )  # fmt: skip

        return _Job(run, data.sizes(labels), settings={"augment": view and repr(view)})

    def _train(self, measurement: Measurement, data: SeededData) -> _Job:
        labels, source = measurement.labels, data.data
        settings = self.recipes.few_labels_finetune if labels.few else self.recipes.finetune
        view = self.networks.view(settings)

        def run() -> Outcome:
            network = self.networks.start(measurement)
            return train_classifier(
                network, source.splits.train, data.rows(labels), val=data.val, test=source.splits.test,
                preprocess=network.clean, augment=view, recipe=settings.recipe, device=source.device,
                eval_batch_size=source.loading["batch_size"], num_workers=source.loading["num_workers"],
                seed=labels.draw_seed, **source.task,
            )  # fmt: skip

        about = {"augment": view and repr(view), **self.networks.normalization(measurement)}
        return _Job(run, data.sizes(labels), settings=about)

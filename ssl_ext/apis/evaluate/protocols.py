"""One measurement: a protocol on the features, or from the weights, of a network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmengine.logging import print_log

from ssl_ext.config.recipes import ImageRecipe, Recipes
from ssl_ext.errors import user_errors
from ssl_ext.evaluation import (
    Banks,
    Outcome,
    Unfinished,
    augmented_linear_protocol,
    cluster_protocol,
    knn_protocol,
    linear_protocols,
    measure_cost,
    most_together,
    quality_figures,
    train_classifier,
)
from ssl_ext.models.evaluated import EvaluatedModel, first_view, view_features

from .data import EvaluationData, SeededData
from .draws import Rows
from .networks import Networks
from .plan import Measurement


@dataclass(frozen=True)
class Measured:
    """Outcome and cost of a measurement, further entries of its row, and its network (None: raw pixels)."""

    outcome: Outcome
    cost: dict[str, float]
    sizes: dict[str, int]
    settings: dict[str, Any]
    source: dict[str, Any]
    seeded: SeededData
    recipe: str
    network: EvaluatedModel | None


@dataclass(frozen=True)
class _Job:
    """A protocol ready to run; gives one outcome per measurement in ``together`` (by default one)."""

    run: Callable[[], Sequence[Outcome]]
    sizes: dict[str, int]
    together: Sequence[Measurement] = ()
    settings: dict[str, Any] = field(default_factory=dict)


class Protocols:
    """Runs measurements; equal computations are done once.

    ``recipes`` maps the names of papers' recipes, and None for the config's, to recipes. ``planned`` are all
    measurements: linear probes of one network on the same number of rows are fitted together, and their time
    is divided equally (``cost.fitted_together``). Trained networks are those of the ``keep`` epoch.
    ``unfinished`` gives the files of a training's state, None for none.
    """

    def __init__(
        self,
        recipes: dict[str | None, Recipes],
        networks: Networks,
        data: dict[str | None, EvaluationData],
        planned: Iterable[Measurement] = (),
        keep: str = "best",
        unfinished: Callable[[Measurement], Unfinished | None] = lambda one: None,
    ) -> None:
        self.recipes, self.networks, self.data, self.keep = recipes, networks, data, keep
        self.unfinished = unfinished
        self.balance = recipes[None].balance
        planned = list(planned)
        self.probes = [one for one in planned if one.kind == "frozen"]
        self._outcomes: dict[tuple, tuple[Outcome, dict[str, float]]] = {}
        self._said: set[str] = set()
        self._planned = Counter(self._key(one) for one in planned)

    def measure(self, measurement: Measurement) -> Measured:
        """Run a measurement.

        Raises:
            UserError: Training failed, for example because of a non-finite loss.
        """
        one, data = measurement, self._seeded(measurement)
        prepare = {
            "knn": self._knn,
            "cluster": self._cluster,
            "quality": self._quality,
            "frozen": self._probe,
            "linear-aug": self._linear_augmented,
            "unfrozen": self._train,
        }[one.kind]
        job = prepare(one, data)
        if self._key(one) not in self._outcomes:
            with user_errors(f"{one.method}, {one.protocol}"), measure_cost() as cost:
                outcomes = job.run()
            if (count := len(outcomes)) > 1:
                cost = {**cost, "wall_s": round(cost["wall_s"] / count, 3), "fitted_together": count}
            for each, outcome in zip(job.together or [one], outcomes, strict=True):
                self._outcomes[self._key(each)] = outcome, cost
        source, settings = self.networks.source(one), job.settings
        if self._key(one)[-1] is None:
            settings = {**settings, "seed_matters": False}
        if one.kind != "unfrozen":
            features = self.networks.features(one, data.data)
            source["features"], settings = features.about, {**settings, **features.settings}
        recipe = self.recipes[one.recipe].names[one.recipe_key]
        outcome, cost = self._taken(self._key(one))
        network: Any = outcome.network or self.networks.get(one)
        return Measured(outcome, cost, job.sizes, settings, source, data, recipe, network)

    def _taken(self, key: tuple) -> tuple[Outcome, dict[str, float]]:
        """Return an outcome; free it (it holds the scores of all images) after its last planned use."""
        self._planned[key] -= 1
        if self._planned[key]:
            return self._outcomes[key]
        self.probes = [probe for probe in self.probes if self._key(probe) != key]
        return self._outcomes.pop(key)

    def _seeded(self, measurement: Measurement) -> SeededData:
        return self.data[measurement.target].seeded(measurement.seed)

    def _key(self, one: Measurement) -> tuple:
        """Equal for measurements with the same outcome."""
        # L-BFGS draws nothing, nor does kNN.
        exact = one.kind == "frozen" and one.labels.whole and self._recipe(one).get("solver") == "lbfgs"
        # Without held-out rows, network, fit and validation data are the same for every seed.
        held = self._seeded(one).rows(one.labels).held
        fixed = self.networks.same_for_all_seeds(one) and held is None
        seed = None if fixed and (exact or one.kind == "knn") else one.seed
        return one.method, one.kind, one.target, one.labels.name, one.recipe, seed

    def _recipe(self, measurement: Measurement) -> Any:
        return getattr(self.recipes[measurement.recipe], measurement.recipe_key)

    def _together(self, one: Measurement, banks: Banks) -> list[Measurement]:
        """The planned probes, this one first, on the same features and equally many rows of them."""

        def shape(probe: Measurement) -> tuple:
            seed = None if self.networks.same_for_all_seeds(probe) else probe.seed
            labels = probe.labels
            rows = len(self._seeded(probe).rows(labels).fit)  # groups differ in size
            amount = labels.whole, labels.per_class, labels.budget, rows
            return probe.method, probe.target, seed, amount, probe.recipe

        alike = {self._key(probe): probe for probe in (one, *self.probes) if shape(probe) == shape(one)}
        waiting = [probe for key, probe in alike.items() if key not in self._outcomes]
        solver, device = self._recipe(one).get("solver", "sgd"), self.networks.device
        return waiting[: most_together(banks.fit.features.numel(), device, solver)]

    def _banks(self, measurement: Measurement, data: SeededData) -> Banks:
        return data.banks(self.networks.features(measurement, data.data), measurement.labels)

    def _knn(self, measurement: Measurement, data: SeededData) -> _Job:
        banks, recipe = self._banks(measurement, data), self._recipe(measurement)
        return _Job(lambda: [knn_protocol(banks, **data.data.task, **recipe)], banks.sizes)

    def _cluster(self, measurement: Measurement, data: SeededData) -> _Job:
        banks, recipe = self._banks(measurement, data), self._recipe(measurement)
        return _Job(
            lambda: [cluster_protocol(banks, seed=measurement.seed, **data.data.task, **recipe)], banks.sizes
        )

    def _quality(self, measurement: Measurement, data: SeededData) -> _Job:
        source, settings = data.data, self._recipe(measurement)
        network, bank = self.networks.get(measurement), self.networks.features(measurement, source).train
        assert network is not None

        def run() -> list[Outcome]:
            views = view_features(
                network, source.splits.train, seed=measurement.seed, **settings, **source.loading
            )
            on_device = None if views is None else views.to(source.device)
            figures = quality_figures(bank.features.to(source.device), on_device)
            return [Outcome(figures, figures, dict(settings))]

        augment = first_view(network.model.data_preprocessor)
        return _Job(run, {"train": len(bank)}, settings={"augment": augment and repr(augment)})

    def _probe(self, measurement: Measurement, data: SeededData) -> _Job:
        banks, recipe = self._banks(measurement, data), self._recipe(measurement)
        together = self._together(measurement, banks)

        def run() -> list[Outcome]:
            others = [self._banks(one, self._seeded(one)) for one in together[1:]]
            seeds = [one.labels.draw_seed for one in together]
            settings = {**recipe, "balance": self.balance}
            return linear_protocols([banks, *others], **data.data.task, seeds=seeds, recipe=settings)

        return _Job(run, banks.sizes, together, self.networks.normalization(measurement))

    def _say_length(self, settings: ImageRecipe, rows: Rows, fixed: bool) -> None:
        """Log the length of a training, unless an equal one was logged."""
        line = settings.recipe.length(len(rows.fit), fixed=fixed)
        if rows.refit:
            line = f"two trainings, the first to choose the epoch, by {line}"
        if line not in self._said:
            self._said.add(line)
            print_log(line, logger="current")

    def _linear_augmented(self, measurement: Measurement, data: SeededData) -> _Job:
        settings, labels, source = self._recipe(measurement), measurement.labels, data.data
        network, banks = self.networks.get(measurement), self._banks(measurement, data)
        view, rows = self.networks.view(settings), data.rows(labels)
        assert network is not None

        def run() -> list[Outcome]:
            self._say_length(settings, rows, measurement.recipe is not None)
            outcome = augmented_linear_protocol(
                lambda images: network.features((view or network.clean)(images)),
                source.splits.train, rows.fit, refit_rows=rows.trained if rows.refit else None,
                val=banks.val, test=banks.test, model=network.model, recipe=settings.recipe,
                num_workers=source.loading["num_workers"], seed=measurement.seed, balance=self.balance,
                unfinished=self.unfinished(measurement), **source.task,
            )  # fmt: skip
            return [outcome]

        return _Job(run, data.sizes(labels), settings={"augment": view and repr(view)})

    def _train(self, measurement: Measurement, data: SeededData) -> _Job:
        labels, source = measurement.labels, data.data
        settings, rows = self._recipe(measurement), data.rows(labels)
        view = self.networks.view(settings)

        def run() -> list[Outcome]:
            self._say_length(settings, rows, measurement.recipe is not None)
            network = self.networks.start(measurement)
            outcome = train_classifier(
                network, source.splits.train, rows.fit, refit_rows=rows.trained if rows.refit else None,
                val=data.val(labels), test=source.splits.test, preprocess=network.clean, augment=view,
                recipe=settings.recipe, device=source.device, seed=labels.draw_seed, leave=self.keep,
                eval_batch_size=source.loading["batch_size"], num_workers=source.loading["num_workers"],
                balance=self.balance, unfinished=self.unfinished(measurement), **source.task,
            )  # fmt: skip
            return [outcome]

        about = {"augment": view and repr(view), **self.networks.normalization(measurement)}
        return _Job(run, data.sizes(labels), settings=about)

"""Which protocol measures what: from a network and the data of a seed to result rows."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from mmengine.config import Config
from torch import nn

from ssl_ext.config.networks import AugmentedView, Embedding, random_network
from ssl_ext.errors import UserError
from ssl_ext.evaluation import (
    Outcome,
    augmented_linear_protocol,
    cluster_protocol,
    knn_protocol,
    linear_protocol,
    train_classifier,
)
from ssl_ext.models import MultiViewPreprocessor, build_augmentation

from .data import EvaluationData, Features, LabelSet, SeededData
from .rows import ResultRows
from .settings import VIEWS, ImageRecipe, Recipes, Request


@dataclass
class Subject:
    """What is evaluated: an embedding (None for raw pixels) under the name of its method.

    ``fixed`` tells that it is the same for every seed, ``trainable`` that the protocols which pass
    images through the network are asked of it too.
    """

    method: str
    embedding: Embedding | None
    checkpoint: dict[str, Any] | None = None
    fixed: bool = True
    trainable: bool = False

    def __post_init__(self) -> None:
        self._features: dict[int, Features] = {}

    def features(self, data: EvaluationData) -> Features:
        """Features of a data set, computed once."""
        if id(data) not in self._features:
            self._features[id(data)] = data.features(self.embedding)
        return self._features[id(data)]


class Protocols:
    """Runs the protocols of a request and adds their rows to ``table``."""

    def __init__(
        self, config: Config, request: Request, recipes: Recipes, table: ResultRows, template: nn.Module
    ) -> None:
        self.config, self.request, self.recipes, self.table = config, request, recipes, table
        self.template = template

    def evaluate(self, subject: Subject, data: SeededData, targets: Sequence[SeededData]) -> None:
        """All protocols of one subject and seed."""
        asked = self.request.protocols
        if "knn" in asked:
            self._bank_protocol(subject, data, "knn", partial(knn_protocol, **self.recipes.knn))
        if "linear" in asked:
            self._classify(subject, data, data.all, "frozen", "linear")
        if "linear-aug" in asked and subject.trainable:
            self._linear_augmented(subject, data)
        if "finetune" in asked:
            self._classify(subject, data, data.all, "unfrozen", "finetune")
        for n in self.request.labels_per_class:
            for labels in data.per_class(n, self.request.draws):
                for mode in self.request.modes:
                    self._classify(subject, data, labels, mode, "linear" if mode == "frozen" else "finetune")
        for budget in self.request.asked_budgets:
            for labels in data.random(budget, self.request.draws):
                for mode in self.request.modes:
                    self._classify(subject, data, labels, mode, "budget")
        for share in self.request.asked_fractions:
            self._classify(subject, data, data.fraction(share), "unfrozen", "semi")
        for target in targets:
            for mode in self.request.modes:
                self._classify(subject, target, target.all, mode, "transfer")
        if "cluster" in asked:
            self._bank_protocol(
                subject, data, "cluster", partial(cluster_protocol, seed=data.seed, **self.recipes.cluster)
            )

    def supervised(self, data: SeededData, targets: Sequence[SeededData]) -> None:
        """The network trained from random weights on every set of labels that others are trained on."""
        request = self.request
        sets = []
        if "supervised" in request.protocols or "finetune" in request.protocols:
            sets += [(data, data.all)]
        sets += [(data, s) for n in request.labels_per_class for s in data.per_class(n, request.draws)]
        sets += [(data, s) for n in request.asked_budgets for s in data.random(n, request.draws)]
        sets += [(data, data.fraction(share)) for share in request.asked_fractions]
        sets += [(target, target.all) for target in targets]
        done = set()
        for seeded, labels in sets:
            name = (seeded.data.target, labels.name, labels.fraction)
            if name not in done:
                done.add(name)
                self._classify(None, seeded, labels, "unfrozen", "supervised")

    def _bank_protocol(
        self, subject: Subject, data: SeededData, protocol: str, run: Callable[..., Outcome]
    ) -> None:
        banks = data.banks(subject.features(data.data), data.all)
        # With a validation split of its own a kNN result is the same for every seed.
        same = protocol == "knn" and subject.fixed and data.held_rows is None
        self._add(
            lambda: run(banks, **data.data.task), subject, data, data.all, protocol, protocol,
            sizes=banks.sizes, any_seed=same,
        )  # fmt: skip

    def _linear_augmented(self, subject: Subject, data: SeededData) -> None:
        embedding, labels, settings = subject.embedding, data.all, self.recipes.linear_aug
        assert embedding is not None
        banks = data.banks(subject.features(data.data), labels)
        view = self._view(settings)

        def run() -> Outcome:
            return augmented_linear_protocol(
                lambda images: embedding((view or embedding.clean)(images)),
                data.data.splits.train, labels.rows, val=banks.val, test=banks.test, model=embedding.model,
                recipe=settings.recipe, num_workers=data.data.loading["num_workers"], seed=data.seed,
                **data.data.task,
            )  # fmt: skip

        self._add(
            run, subject, data, labels, "linear-aug", "linear-aug",
            sizes=data.sizes(labels), settings={"augment": view and repr(view)},
        )  # fmt: skip

    def _classify(
        self, subject: Subject | None, data: SeededData, labels: LabelSet, mode: str, protocol: str
    ) -> None:
        """A linear probe on features (frozen) or a trained network; from random weights without a subject."""
        if mode == "frozen":
            assert subject is not None
            self._probe(subject, data, labels, protocol)
        elif subject is None or subject.trainable:
            self._train(subject, data, labels, protocol)

    def _probe(self, subject: Subject, data: SeededData, labels: LabelSet, protocol: str) -> None:
        recipe = self.recipes.few_labels if labels.few else self.recipes.linear
        banks = data.banks(subject.features(data.data), labels)
        # L-BFGS draws nothing: without held-out rows every seed has the same result.
        same = recipe.get("solver") == "lbfgs" and labels.whole and subject.fixed and data.held_rows is None
        self._add(
            lambda: linear_protocol(banks, **data.data.task, seed=labels.seed, recipe=recipe),
            subject, data, labels, protocol, "frozen",
            sizes=banks.sizes, any_seed=same, settings=self._transfer_settings(data),
        )  # fmt: skip

    def _train(self, subject: Subject | None, data: SeededData, labels: LabelSet, protocol: str) -> None:
        settings = self.recipes.few_labels_finetune if labels.few else self.recipes.finetune
        device, splits, loading = data.data.device, data.data.splits, data.data.loading
        view = self._view(settings)

        def run() -> Outcome:
            if subject is None or subject.embedding is None:
                model = random_network(self.config, seed=labels.seed, device=device)
            else:
                model = copy.deepcopy(subject.embedding.model)
            embedding = Embedding(model)
            return train_classifier(
                embedding, splits.train, labels.rows, val=data.val, test=splits.test,
                preprocess=embedding.clean, augment=view, recipe=settings.recipe, device=device,
                eval_batch_size=loading["batch_size"], num_workers=loading["num_workers"],
                seed=labels.seed, **data.data.task,
            )  # fmt: skip

        about = {"augment": view and repr(view), **self._transfer_settings(data)}
        self._add(run, subject, data, labels, protocol, "unfrozen", sizes=data.sizes(labels), settings=about)

    def _add(
        self,
        run: Callable[[], Outcome],
        subject: Subject | None,
        data: SeededData,
        labels: LabelSet,
        protocol: str,
        kind: str,
        *,
        sizes: dict[str, int],
        any_seed: bool = False,
        settings: dict[str, Any] | None = None,
    ) -> None:
        """Add a row; protocols of one ``kind`` on the same labels share a measurement."""
        method = "supervised" if subject is None else subject.method
        source: dict[str, Any] = {"checkpoint": subject.checkpoint if subject else None}
        if subject is not None and kind != "unfrozen":
            source["features"] = subject.features(data.data).about
        self.table.add(
            run,
            key=(method, kind, data.data.target, labels.name, None if any_seed else data.seed),
            method=method,
            protocol=protocol,
            seeded=data,
            labels=labels,
            sizes=sizes,
            source=source,
            # Where the protocol's name does not tell it.
            mode=kind if protocol in ("budget", "transfer") else None,
            settings=settings,
        )

    def _view(self, settings: ImageRecipe) -> AugmentedView | None:
        """Augmentation of a recipe; None for clean images."""
        preprocessor = self.template.data_preprocessor
        multi_view = isinstance(preprocessor, MultiViewPreprocessor)
        view = next(iter(preprocessor.views), None) if multi_view else None
        if settings.augment != VIEWS:
            view = build_augmentation(settings.augment) if settings.augment else None
        if view is None:
            return None
        if not multi_view:
            raise UserError(
                f"{settings.recipe.key}.augment: model.data_preprocessor {type(preprocessor).__name__} takes "
                "no augmented images; name MultiViewPreprocessor, or set augment=None."
            )
        return AugmentedView(view, preprocessor)

    def _transfer_settings(self, data: SeededData) -> dict[str, Any]:
        """For a second data set: that pretraining's mean and std normalise its images."""
        if data.data.target is None:
            return {}
        mean, std = self.template.normalization or ((), ())
        return {"normalization": "of the pretraining config", "mean": list(mean), "std": list(std)}

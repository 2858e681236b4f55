"""Online kNN and signs of collapse during pretraining."""

from __future__ import annotations

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper

from ssl_ext.evaluation import (
    extract_features,
    feature_std,
    hold_out,
    knn_classify,
    labelled_rows,
    rankme,
    top1,
)
from ssl_ext.models.utils import pool_features
from ssl_ext.registry import HOOKS

COLLAPSE_SHARE = 0.1


@HOOKS.register_module()
class FeatureMonitorHook(Hook):
    """Every few epochs: kNN top-1 on validation images, feature std and RankMe.

    Features are clean images through the backbone in evaluation mode. The feature std is that of the
    L2-normalised features; spread evenly over the sphere it is about 1/√D, and a warning follows when
    it falls under a tenth of that. The test split is never looked at. A data set without labels, or
    with several labels an image, gets no kNN figure.

    Args:
        interval: Epochs between two measurements; the last epoch is always measured.
        max_images: Bank and queries are each cut to a seeded draw of this many images.

    Raises:
        ValueError: ``interval`` or ``max_images`` below 1.
    """

    # Before LoggerHook, so that the figures stand in the log ahead of the checkpoint's line.
    priority = "NORMAL"

    def __init__(self, interval: int = 10, max_images: int = 10_000) -> None:
        for key, value in (("interval", interval), ("max_images", max_images)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"FeatureMonitorHook.{key} is {value!r}; it must be at least 1.")
        self.interval = interval
        self.max_images = max_images

    def after_train_epoch(self, runner) -> None:
        """Measure, log, and warn of a collapse."""
        last = runner.epoch + 1 == runner.max_epochs
        if runner.evaluation_splits is None or not (last or self.every_n_epochs(runner, self.interval)):
            return
        figures = self.measure(runner)
        if not is_main_process():
            return
        runner.visualizer.add_scalars(figures, step=runner.iter + 1, file_path=f"{runner.timestamp}.json")
        runner.logger.info(
            f"Epoch({runner.epoch + 1}) "
            + "  ".join(f"{name}: {value:.4f}" for name, value in figures.items())
        )
        if figures["feature_std"] < COLLAPSE_SHARE * figures["feature_std_uniform"]:
            runner.logger.warning(
                f"The features are collapsing: their std {figures['feature_std']:.2e} is under a tenth of "
                f"{figures['feature_std_uniform']:.2e}, that of evenly spread features."
            )

    @torch.no_grad()
    def measure(self, runner) -> dict[str, float]:
        """The figures, from one pass over (a draw of) the train and validation images."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        settings = runner.cfg.get("evaluation", {})

        def embed(images: torch.Tensor) -> torch.Tensor:
            clean = model.data_preprocessor(dict(inputs=images), False)["inputs"]
            return pool_features(model.backbone(clean))

        def features_of(dataset, rows):
            return extract_features(
                embed, dataset, batch_size=settings.get("batch_size", 512), rows=rows, model=model
            )

        train, val = runner.evaluation_splits.train, runner.evaluation_splits.val
        labels = torch.as_tensor(train.labels).cpu()
        has_labels = bool(labelled_rows(labels).any())
        bank_rows = labelled_rows(labels).nonzero()[:, 0] if has_labels else torch.arange(len(train))
        queries, query_rows = val, None if val is None else torch.arange(len(val))
        if has_labels and val is None:
            queries = train
            bank_rows, query_rows = hold_out(labels, seed=0)
        bank, bank_labels = features_of(train, self.draw(bank_rows))
        figures = {
            "feature_std": feature_std(bank),
            "feature_std_uniform": bank.shape[1] ** -0.5,
            "rankme": rankme(bank),
        }
        if has_labels and train.task != "multi-label":
            query_features, query_labels = features_of(queries, self.draw(query_rows))
            knn = settings.get("knn", {})
            k = knn.get("k", 200)
            scores = knn_classify(
                query_features,
                bank,
                bank_labels,
                num_classes=train.num_classes,
                k=k if isinstance(k, int) else max(k),
                temperature=knn.get("temperature", 0.1),
            )
            figures["knn_top1"] = top1(scores, query_labels)
        return figures

    def draw(self, rows: torch.Tensor) -> torch.Tensor:
        """At most ``max_images`` of ``rows``, the same ones every time."""
        if len(rows) <= self.max_images:
            return rows
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))
        return rows[order[: self.max_images].sort().values]

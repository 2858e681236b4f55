"""Online kNN and detection of collapse during pretraining."""

from __future__ import annotations

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from ssl_ext.evaluation import (
    extract_features,
    hold_out,
    knn_classify,
    labelled_rows,
    quality_figures,
    top1,
)
from ssl_ext.models.evaluated import EvaluatedModel, view_features
from ssl_ext.registry import HOOKS

from .monitoring import bare_model, check_positive, report
from .online_probe import OnlineProbeHook
from .random_state import kept_random_state

COLLAPSE_SHARE = 0.1
VIEWS = dict(images=500, views=4, seed=0)
COLLAPSED_SINCE = "features_collapsed_since_epoch"


@HOOKS.register_module()
class FeatureMonitorHook(Hook):
    """Log kNN top-1 on validation images and label-free measures of the features every few epochs.

    Features are backbone features of clean images in evaluation mode. The measures are those of
    :func:`ssl_ext.evaluation.quality_figures`; LiDAR, alignment and uniformity use four random views
    (pretraining's first view) of 500 training images. The feature std is about 1/√D if the normalised
    features are uniform on the sphere. A warning is logged if it is below a tenth of this value in two
    consecutive measurements, or in the last one. The test split is never loaded. There is no kNN accuracy for
    data sets without labels, or with several labels per image. With an :class:`OnlineProbeHook`, its loss and
    accuracy on the same validation features are added.

    Args:
        interval: Epochs between two measurements; the last epoch is always measured.
        max_images: Bank and queries are each limited to a seeded sample of this many images.

    Raises:
        ValueError: ``interval`` or ``max_images`` below 1.
    """

    # Before LoggerHook, so that the figures are logged before the line of the checkpoint.
    priority = "NORMAL"

    def __init__(self, interval: int = 10, max_images: int = 10_000) -> None:
        check_positive("FeatureMonitorHook", interval=interval, max_images=max_images)
        self.interval = interval
        self.max_images = max_images

    def after_train_epoch(self, runner) -> None:
        """Measure, log, and warn of collapse."""
        last = runner.epoch + 1 == runner.max_epochs
        if runner.evaluation_splits is None or not (last or self.every_n_epochs(runner, self.interval)):
            return
        with kept_random_state():  # a data loader draws a seed from the global stream
            figures = self.measure(runner)
        report(runner, figures)
        self.warn_of_collapse(runner, figures["feature_std"], figures["feature_std_uniform"], last)

    def warn_of_collapse(self, runner, std: float, uniform: float, last: bool) -> None:
        """Warn if the features are nearly equal for all images."""
        hub = runner.message_hub
        if std >= COLLAPSE_SHARE * uniform:
            hub.update_info(COLLAPSED_SINCE, 0)
            return
        # In the message hub it is stored in checkpoints.
        since = hub.get_info(COLLAPSED_SINCE, 0) or runner.epoch + 1
        hub.update_info(COLLAPSED_SINCE, since)
        if is_main_process() and (last or since <= runner.epoch):
            runner.logger.warning(
                "The features are collapsing: the network gives nearly the same features for every image. "
                f"Since epoch {since} their std has been under a tenth of {uniform:.2e}, that of evenly "
                f"spread features; now it is {std:.2e}. Check learning rate, loss weights and views."
            )

    @torch.no_grad()
    def measure(self, runner) -> dict[str, float]:
        """Compute the figures in one pass over (samples of) the train and validation images."""
        model = bare_model(runner)
        settings = runner.cfg.get("evaluation", {})

        network, batch_size = EvaluatedModel(model), settings.get("batch_size", 512)

        def features_of(dataset, rows):
            return extract_features(
                network.embed, dataset, batch_size=batch_size, rows=self.draw(rows), model=model
            )

        train, val = runner.evaluation_splits.train, runner.evaluation_splits.val
        labels = torch.as_tensor(train.labels).cpu()
        has_labels = bool(labelled_rows(labels).any())
        if has_labels and val is None:
            queries, (bank_rows, query_rows) = (
                train,
                hold_out(labels, seed=0, groups=runner.evaluation_splits.groups),
            )
        else:
            queries = val
            bank_rows = labelled_rows(labels).nonzero()[:, 0] if has_labels else torch.arange(len(train))
            query_rows = None if val is None else labelled_rows(torch.as_tensor(val.labels)).nonzero()[:, 0]
        bank, bank_labels = features_of(train, bank_rows)
        figures = quality_figures(bank, view_features(network, train, **VIEWS, batch_size=batch_size))
        if has_labels and train.task != "multi-label" and len(query_rows):
            query_features, query_labels = features_of(queries, query_rows)
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
            for probe in (hook for hook in runner.hooks if isinstance(hook, OnlineProbeHook)):
                figures.update(probe.validate(runner, query_features, query_labels))
        return figures

    def draw(self, rows: torch.Tensor) -> torch.Tensor:
        """Seeded sample of at most ``max_images`` of ``rows``, equal at every call."""
        if len(rows) <= self.max_images:
            return rows
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))
        return rows[order[: self.max_images].sort().values]

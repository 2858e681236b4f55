"""Initialisation and monitoring of a model's clusters."""

from __future__ import annotations

from itertools import islice
from typing import Any

import torch
from mmengine.hooks import Hook
from torch import Tensor, nn

from ssl_ext.evaluation import extract_features, labelled_rows
from ssl_ext.logs import FILE_ONLY
from ssl_ext.registry import HOOKS

from .monitoring import bare_model, report
from .random_state import kept_random_state

SETTLING_BATCHES = 50


@HOOKS.register_module()
class ClusterHook(Hook):
    """Initialise the clusters of a model before training, and log statistics of them after each epoch.

    The initialisation is k-means on the embeddings of all clean training images. Before it, up to 50 training
    batches are passed through the network without updates, so that the running statistics of batch
    normalisation fit these images. A resumed run takes its clusters from the checkpoint. The run's random
    state is not changed.

    Logged are the sizes of the smallest and the largest cluster and, if the images have one class each,
    ``cluster_nmi``: the normalised mutual information of clusters and classes, in [0, 1], which is not used
    in training.

    The runner adds this hook for every model with a ``cluster_bank``.
    """

    # Before LoggerHook, so that the figures are logged before the line of the checkpoint.
    priority = "NORMAL"

    def before_train(self, runner) -> None:
        """Cluster the initial embeddings, unless clusters were loaded."""
        model = bare_model(runner)
        bank = model.cluster_bank
        if bool(bank.started):
            return
        with kept_random_state():
            self.settle(runner, model)
            features, _ = extract_features(
                lambda images: model.embed_for_clusters(
                    model.data_preprocessor(dict(inputs=images), False)["inputs"]
                ),
                runner.train_dataloader.dataset,
                batch_size=runner.cfg.get("evaluation", {}).get("batch_size", 512),
                model=model,
                num_workers=runner.train_dataloader.num_workers,
            )
            bank.start(features)
        counts = bank.counts()
        agreement = agreement_with_classes(runner.train_dataloader.dataset, bank.labels)
        runner.logger.info(
            f"{len(counts)} clusters of {len(features)} images, of {int(counts.min())} to "
            f"{int(counts.max())} images each"
            + ("." if agreement is None else f"; cluster_nmi: {agreement:.4f}."),
            extra=FILE_ONLY,
        )

    @staticmethod
    @torch.no_grad()
    def settle(runner, model: nn.Module) -> None:
        """Update the running statistics on training views."""
        model.train()
        for batch in islice(runner.train_dataloader, SETTLING_BATCHES):
            model.embed_for_clusters(model.data_preprocessor(batch, True)["inputs"][0])

    def after_train_epoch(self, runner) -> None:
        """Log the cluster sizes and the agreement with the classes."""
        bank = bare_model(runner).cluster_bank
        counts = bank.counts()
        figures = {"cluster_smallest": int(counts.min()), "cluster_largest": int(counts.max())}
        agreement = agreement_with_classes(runner.train_dataloader.dataset, bank.labels)
        if agreement is not None:
            figures["cluster_nmi"] = agreement
        report(runner, figures)


def agreement_with_classes(dataset: Any, clusters: Tensor) -> float | None:
    """Normalised mutual information, in [0, 1], of clusters (n,) and classes of the labelled images.

    None if no image has a label or images have several.
    """
    classes = torch.as_tensor(getattr(dataset, "labels", -torch.ones(1))).cpu()
    rows = labelled_rows(classes)
    if classes.ndim != 1 or not bool(rows.any()):
        return None
    from sklearn.metrics import normalized_mutual_info_score

    return float(normalized_mutual_info_score(classes[rows].numpy(), clusters.cpu()[rows].numpy()))

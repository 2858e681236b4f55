"""Clusters of a data set that a model keeps: their start, and what becomes of them."""

from __future__ import annotations

from itertools import islice
from typing import Any

import torch
from mmengine.hooks import Hook
from torch import Tensor, nn

from ssl_ext.evaluation import extract_features, labelled_rows
from ssl_ext.registry import HOOKS

from .monitoring import bare_model, report
from .random_state import kept_random_state

SETTLING_BATCHES = 50


@HOOKS.register_module()
class ClusterHook(Hook):
    """Start the clusters of a model before training; after each epoch, log how they lie.

    The start is k-means on the embeddings of all clean training images. Their network, fresh or loaded,
    first sees up to 50 training batches without learning, so that the running statistics of its batch
    normalisation, with which clean images are embedded, are of these images. A resumed run takes its
    clusters from the checkpoint. No random number is taken from the run.

    Logged are the sizes of the smallest and of the largest cluster and, if the images have one class each,
    ``cluster_nmi``: the normalised mutual information of clusters and classes (in [0, 1]), which the training
    does not see. The start has a line of text with the same.

    The runner adds this hook for every model with a ``cluster_bank``.
    """

    # Before LoggerHook, so that the figures stand in the log ahead of the checkpoint's line.
    priority = "NORMAL"

    def before_train(self, runner) -> None:
        """Cluster the first embeddings, unless there are clusters already."""
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
            + ("." if agreement is None else f"; cluster_nmi: {agreement:.4f}.")
        )

    @staticmethod
    @torch.no_grad()
    def settle(runner, model: nn.Module) -> None:
        """Let running statistics become those of the training views."""
        model.train()
        for batch in islice(runner.train_dataloader, SETTLING_BATCHES):
            model.embed_for_clusters(model.data_preprocessor(batch, True)["inputs"][0])

    def after_train_epoch(self, runner) -> None:
        """Log the sizes of the clusters, and their agreement with the classes."""
        bank = bare_model(runner).cluster_bank
        counts = bank.counts()
        figures = {"cluster_smallest": int(counts.min()), "cluster_largest": int(counts.max())}
        agreement = agreement_with_classes(runner.train_dataloader.dataset, bank.labels)
        if agreement is not None:
            figures["cluster_nmi"] = agreement
        report(runner, figures)


def agreement_with_classes(dataset: Any, clusters: Tensor) -> float | None:
    """Normalised mutual information of clusters (n,) and the classes of the images that have one, in [0, 1].

    None where no image has a class, or an image has several.
    """
    classes = torch.as_tensor(getattr(dataset, "labels", -torch.ones(1))).cpu()
    rows = labelled_rows(classes)
    if classes.ndim != 1 or not bool(rows.any()):
        return None
    from sklearn.metrics import normalized_mutual_info_score

    return float(normalized_mutual_info_score(classes[rows].numpy(), clusters.cpu()[rows].numpy()))

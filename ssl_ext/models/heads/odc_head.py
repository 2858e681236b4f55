"""Head of ODC."""

from __future__ import annotations

from mmengine.model import BaseModule
from torch import Tensor, nn

from ssl_ext.losses import cluster_cross_entropy
from ssl_ext.registry import MODELS


@MODELS.register_module()
class ODCHead(BaseModule):
    """A linear classifier of clusters; a sample counts ∝ (size of its cluster) ** −power.

    Args:
        in_channels: D, size of the embeddings.
        num_clusters: K.
        power: 0 counts all samples equally.

    Raises:
        ValueError: A number out of range.
    """

    def __init__(self, in_channels: int, num_clusters: int, power: float = 0.5) -> None:
        super().__init__()
        for key, value, smallest in (("in_channels", in_channels, 1), ("num_clusters", num_clusters, 2)):
            if not isinstance(value, int) or value < smallest:
                raise ValueError(f"model.head.{key} is {value!r}; it must be at least {smallest}.")
        if power < 0:
            raise ValueError(f"model.head.power is {power}; it must not be negative.")
        self.num_clusters, self.power = num_clusters, power
        self.classifier = nn.Linear(in_channels, num_clusters)

    def loss(self, embeddings: Tensor, labels: Tensor, counts: Tensor) -> dict[str, Tensor]:
        """Cross-entropy of embeddings (N, D) with clusters (N,), whose sizes are ``counts`` (K,)."""
        loss = cluster_cross_entropy(self.classifier(embeddings), labels, counts, power=self.power)
        return dict(loss_cluster=loss)

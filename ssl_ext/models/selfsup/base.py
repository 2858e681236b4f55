"""Base classes of all models, and the protocol that hooks, configs and tools use."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from mmengine.model import BaseModel
from mmpretrain.models.selfsup.base import BaseSelfSupervisor
from torch import Tensor, nn

from ssl_ext.models.utils import ClusterBank, MomentumNetwork, check_momentum, momentum_at, pool_features

UNKNOWN = "its class does not declare how its loss depends on the batch"


class TrainableModel(BaseModel):
    """The model protocol: every method and attribute has a default that does nothing.

    A training step has four parts, so that the second and third can be recorded as one CUDA graph for each
    value of ``variant``:

    1. host, before every batch: :meth:`before_step`;
    2. device: the views, :meth:`loss`, backward and the optimiser;
    3. device, after an optimiser step: :meth:`after_update`;
    4. host, after an optimiser step: :meth:`between_steps`.

    Parts 2 and 3 must not read tensors on the host and must not depend on Python numbers that change from
    step to step: such numbers come from :meth:`step_numbers` as device tensors, or from buffers that
    :meth:`before_step` fills. :meth:`after_step` runs parts 3 and 4 without a graph.

    Attributes:
        num_views: Number of views of an image that the loss takes; None for any number.
        smallest_batch: Smallest number of images per batch and process.
        batch_dependence: Why gradients accumulated over several batches differ from those of one large
            batch; None if they are equal.
        uses_indices: True if the loss looks up training images by their row in the data set and so cannot be
            computed for other images.
        capture_obstacle: Why parts 2 and 3 cannot be recorded as a CUDA graph; None if they can.
        exported_network: Network that is exported by default: ``'online'`` or ``'momentum'``.
        variant: Result of :meth:`step_variant` for the current step.
    """

    num_views: int | None = None
    smallest_batch: int = 2
    batch_dependence: str | None = None
    uses_indices: bool = False
    capture_obstacle: str | None = None
    exported_network: str = "online"
    variant: Hashable = None

    # Data set

    def check_dataset(self, dataset: Any) -> None:
        """Raise ValueError unless the model can learn from the training data set."""

    def set_dataset_size(self, size: int) -> None:
        """Create banks with an entry for each of ``size`` training images; call before loading a state."""

    def check_batch_size(self, size: int) -> None:
        """Raise ValueError if the loss cannot be computed on batches of ``size`` images per process."""
        if size < self.smallest_batch:
            raise ValueError(
                f"train_dataloader.batch_size is {size}; losses compare or mix images within a batch and "
                f"need at least {self.smallest_batch}."
            )

    def check_batch(self, batch: dict) -> None:
        """Raise IndexError for ``batch['indices']`` outside the data set (checked on the CPU)."""

    # Training step

    def before_step(self, step: int, iteration: int, batch: dict | None = None) -> None:
        """Prepare the step of a batch on the host.

        Args:
            step: Optimiser step that the batch counts towards, from 1.
            iteration: Batch, from 1; differs from ``step`` when gradients accumulate.
            batch: The batch before preprocessing, for :meth:`check_batch`.
        """
        self.variant = self.step_variant(step, iteration)
        if batch is not None:
            self.check_batch(batch)

    def step_variant(self, step: int, iteration: int) -> Hashable:
        """Which operations a step runs, as a function of the arguments and the run's seed only."""
        return None

    def step_numbers(self, step: int, max_steps: int) -> dict[str, float]:
        """Numbers for :meth:`after_update` of optimiser step ``step`` (from 1) of ``max_steps``."""
        return {}

    def parse_losses(self, losses: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Total and all terms, as in MMEngine, but terms that are single numbers are not averaged."""
        if not all(torch.is_tensor(value) and value.ndim == 0 for value in losses.values()):
            return super().parse_losses(losses)
        total = sum(value for name, value in losses.items() if "loss" in name)
        return total, {"loss": total, **losses}

    def after_update(self, numbers: Mapping[str, Tensor]) -> None:
        """Device work after the optimiser's update; ``numbers`` are :meth:`step_numbers` as 0-dim float64."""

    def between_steps(self, step: int) -> None:
        """Host work after optimiser step ``step``, such as recomputing centroids."""

    def after_step(self, step: int, max_steps: int) -> None:
        """Run :meth:`after_update` and :meth:`between_steps` of optimiser step ``step`` of ``max_steps``."""
        numbers = self.step_numbers(step, max_steps)
        self.after_update(on_device(numbers, next(self.parameters()).device) if numbers else {})
        self.between_steps(step)

    # Networks

    def ema_networks(self) -> list[MomentumNetwork]:
        """All EMA networks."""
        return [module for module in self.modules() if isinstance(module, MomentumNetwork)]

    def sync_ema(self) -> None:
        """Copy the online weights into every EMA network."""

    def extract_embedding(self, images: Tensor) -> Tensor:
        """Backbone features y after pooling, (N, C), of normalised images (N, channels, H, W)."""
        return pool_features(self.backbone(images))

    @property
    def cluster_bank(self) -> ClusterBank | None:
        """Bank of clusters used as training targets; None without clusters."""
        return None

    def embed_for_clusters(self, images: Tensor) -> Tensor:
        """Embeddings (N, D) to cluster, of normalised images (N, C, H, W)."""
        return self.extract_embedding(images)

    # Preprocessor, which may be MMPretrain's

    @property
    def drawn_views(self) -> int | None:
        """Number of views per image that the preprocessor draws; None if unknown."""
        return getattr(self.data_preprocessor, "num_views", None)

    @property
    def normalization(self) -> tuple[Sequence[float], Sequence[float]] | None:
        """Channel means and stds in the preprocessor's units; None if it does not normalise."""
        mean, std = (getattr(self.data_preprocessor, key, None) for key in ("mean", "std"))
        return None if mean is None or std is None else ([float(x) for x in mean], [float(x) for x in std])


def on_device(numbers: Mapping[str, float], device: torch.device) -> dict[str, Tensor]:
    """Copy numbers to ``device`` as 0-dim float64 tensors, in one asynchronous copy."""
    values = torch.tensor(list(numbers.values()), dtype=torch.float64, pin_memory=device.type == "cuda")
    return dict(zip(numbers, values.to(device, non_blocking=True).unbind(), strict=True))


class ForeignModel(TrainableModel):
    """Protocol defaults for MMPretrain's algorithms."""

    batch_dependence = UNKNOWN
    capture_obstacle = "it was not written to be captured"


def adapted(model: nn.Module) -> TrainableModel:
    """Return ``model``; give a model of MMPretrain the protocol's defaults for missing methods."""
    if not isinstance(model, TrainableModel):
        kind = type(model)
        model.__class__ = type(kind.__name__, (kind, ForeignModel), {"__module__": kind.__module__})
    return model


class EMAModel(TrainableModel):
    """Mixin for models with EMA copies (:class:`MomentumNetwork`), updated after every optimiser step.

    Subclasses make the copies in ``__init__``. They start equal to the initialised (or loaded) network.

    Args:
        momentum: EMA momentum m in [0, 1].
        momentum_schedule: ``'constant'``, or ``'cosine'`` from m to 1 over the run.
        **kwargs: Arguments of the other base classes.

    Raises:
        ValueError: A momentum out of range or an unknown schedule.
    """

    def __init__(self, *, momentum: float, momentum_schedule: str = "constant", **kwargs) -> None:
        check_momentum(momentum, momentum_schedule)
        super().__init__(**kwargs)
        self.momentum = momentum
        self.momentum_schedule = momentum_schedule

    def ema_source(self) -> tuple[nn.Module, nn.Module]:
        """Backbone and neck (or heads) that are averaged."""
        return self.backbone, self.neck

    def updated_networks(self) -> list[MomentumNetwork]:
        """EMA networks to update after this step."""
        return self.ema_networks()

    def init_weights(self) -> None:
        """Initialise the network and start the EMA networks from it."""
        super().init_weights()
        self.sync_ema()

    def sync_ema(self) -> None:
        """Copy the online weights into every EMA network."""
        for network in self.ema_networks():
            network.copy_from(*self.ema_source())

    def step_numbers(self, step: int, max_steps: int) -> dict[str, float]:
        """Add the EMA momentum of the step."""
        momentum = momentum_at(step, max_steps, self.momentum, self.momentum_schedule)
        return dict(super().step_numbers(step, max_steps), momentum=momentum)

    def after_update(self, numbers: Mapping[str, Tensor]) -> None:
        """Update the EMA networks."""
        super().after_update(numbers)
        for network in self.updated_networks():
            network.update(*self.ema_source(), numbers["momentum"])


class SelfSupervisedModel(TrainableModel, BaseSelfSupervisor):
    """Backbone, neck (projector) and head; subclasses define ``loss``.

    ``loss`` updates queues and memory banks in training mode only.
    """

    batch_dependence: str | None = UNKNOWN

    def project(self, features: Tensor) -> Tensor:
        """Projector output z, (N, D), of pooled features y (N, C)."""
        return self.neck((features,))[0]

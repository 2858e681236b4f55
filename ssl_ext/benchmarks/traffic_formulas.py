"""What a training step of each algorithm sends besides gradients, in closed form.

With N images a process, W processes and embeddings of D numbers, everything is made of three pieces:

- :func:`reduced`: a sum over processes, and in the backward pass the sum of its gradients;
- :func:`gathered`: rows of all processes, W times as many; with a gradient, the sum of it comes back;
- :func:`broadcast`: one process tells the others.

``FORMULAS`` has the sum of pieces for each ``model.type``; ``tools/scaling.md`` shows it as a table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from mmengine.config import ConfigDict
from torch import nn

from ssl_ext.errors import UserError

from .projection import Similarities
from .traffic import FLOAT, Collective

INDEX = 8  # bytes of an int64
Pieces = list[Collective]


class Step(NamedTuple):
    """A step of ``model`` (built from the config's ``settings``) on N = ``batch`` images a process."""

    model: nn.Module
    settings: ConfigDict
    batch: int
    world: int

    @property
    def dim(self) -> int:
        """D, the size of the projector's output."""
        return self.settings.neck.out_channels


def loss_collectives(model: nn.Module, settings: ConfigDict, batch: int, world: int) -> Pieces:
    """Collectives of a training step of ``model`` on ``world`` processes, but for gradients and batch norms.

    Args:
        model: The model.
        settings: ``config.model``, of which it was built.
        batch: N, images of each process.
        world: W; one process sends nothing.

    Raises:
        UserError: There is no formula for ``model.type``.
    """
    if settings.type not in FORMULAS:
        raise UserError(
            f"model.type is {settings.type!r}; what a step sends is known of {', '.join(sorted(FORMULAS))}."
        )
    return FORMULAS[settings.type](Step(model, settings, batch, world)) if world > 1 else []


def similarities(model: nn.Module, settings: ConfigDict, batch: int) -> Similarities:
    """The similarity matrices of a step that grow with the number of processes."""
    block = getattr(model, "block_head", None)
    if settings.type in ("SimCLR", "JaccardSimCLR"):  # Jaccard: of each projector, and of both together
        count = 3 if settings.type == "JaccardSimCLR" else 1
        return Similarities(count, 2 * batch, 2 * batch, settings.neck.out_channels)
    if settings.type == "IMix":
        return Similarities(1, batch, batch, settings.neck.out_channels)
    if block is not None and "infonce" in block.losses:
        return Similarities(1, batch, batch, settings.head.in_channels)
    return Similarities(0, 0, 0, 0)


def reduced(numbers: int) -> Pieces:
    """All-reduce of float32 numbers, and of their gradients."""
    return [Collective("all_reduce", FLOAT * numbers, 2)]


def gathered(step: Step, numbers: int, *, gradient: bool = False, width: int = FLOAT) -> Pieces:
    """All-gather of numbers of each process, and all-reduce of the gradient of all of them."""
    size = step.world * numbers * width
    return [Collective("all_gather", size)] + [Collective("all_reduce", size)] * gradient


def broadcast(size: int, every: int = 1) -> Pieces:
    """Broadcast of ``size`` bytes in every ``every``-th step."""
    return [Collective("broadcast", size, 1 / every)]


def standardized(step: Step, dim: int) -> Pieces:
    """Mean and variance of D dimensions over the joined batch."""
    return gathered(step, 2 * dim, gradient=True)


def enqueued(step: Step) -> Pieces:
    """Keys of all processes for every queue of MoCo."""
    return [
        piece for queue in step.model.queues for piece in gathered(step, step.batch * queue.features.shape[1])
    ]


def banked(step: Step, dim: int) -> Pieces:
    """Rows and embeddings of all processes for a memory bank."""
    return gathered(step, step.batch, width=INDEX) + gathered(step, step.batch * dim)


def clustered(step: Step, bank: nn.Module, interval: int) -> Pieces:
    """A bank with clusters: rows once more, and now and then all labels and centroids."""
    return (
        banked(step, bank.features.shape[1])
        + gathered(step, step.batch, width=INDEX)
        + broadcast(INDEX * len(bank.labels), interval)
        + broadcast(FLOAT * bank.centroids.numel(), interval)
    )


def labelled(step: Step) -> Pieces:
    """A source of labels: its classifier's loss, its clusters."""
    source = getattr(step.model, "label_source", None)
    if source is None:
        return []
    pieces = reduced(1) if source.classifier is not None else []
    return pieces + (clustered(step, source.bank, source.interval) if source.bank is not None else [])


def block_losses(names: tuple[str, ...]) -> Pieces:
    """Losses of a Mix Block, a scalar each; pbce sums its pairs and counts them."""
    return [piece for name in names for piece in reduced(2 if name == "pbce" else 1)]


def barlow_twins(step: Step) -> Pieces:
    """Moments of two views, and their cross-correlation."""
    return 2 * standardized(step, step.dim) + reduced(step.dim**2)


def trimix(step: Step) -> Pieces:
    """Barlow Twins, moments of the virtual embeddings, means of its other terms, λ."""
    head, pieces = step.model.head, barlow_twins(step)
    if not head.needs_virtual:
        return pieces
    if step.model.lam_per == "step":
        pieces += broadcast(FLOAT)
    sizes = dict(y=step.settings.neck.in_channels, z=step.dim)
    terms = [(head.virtual_weight, head.virtual_on, 3), (head.consistency_weight, head.consistency_on, 1)]
    if all(weight > 0 and on == "z" for weight, on, _ in terms):  # the views' moments serve all terms
        return pieces + standardized(step, step.dim) + reduced(4)
    for weight, on, numbers in terms:
        if weight > 0:
            pieces += 2 * standardized(step, sizes[on]) + reduced(numbers)
    return pieces


def vicreg(step: Step) -> Pieces:
    """A scalar, the means of two views and their covariances."""
    return reduced(1) + reduced(2 * step.dim) + reduced(2 * step.dim**2)


def simclr(step: Step) -> Pieces:
    """All views of all processes, and loss and accuracy."""
    return gathered(step, 2 * step.batch * step.dim, gradient=True) + reduced(2)


def jaccard_simclr(step: Step) -> Pieces:
    """SimCLR for each of two projectors, and the loss of both together."""
    return 2 * simclr(step) + reduced(2)


def moco(step: Step) -> Pieces:
    """Loss and accuracy, and keys for the queue."""
    return reduced(2) + enqueued(step)


def jaccard_moco(step: Step) -> Pieces:
    """Three losses and two queues."""
    return 3 * reduced(2) + enqueued(step)


def i_mix(step: Step) -> Pieces:
    """MoCo, and the keys of all processes as classes."""
    return moco(step) + gathered(step, step.batch * step.dim)


def mixed_moco(step: Step) -> Pieces:
    """MoCo, InfoNCE of the mixtures, labels; saliency by InfoNCE costs that once more."""
    head, policy = step.model.head, getattr(step.model, "policy", None)
    pieces = enqueued(step) + labelled(step) + (reduced(2) if head.plain_weight else [])
    if head.mixed_weight or step.settings.type == "UnMix":
        pieces += reduced(1)
        if policy is not None and policy.needs_gradient and step.model.label_source is None:
            pieces += reduced(2)
    return pieces


def amix_moco(step: Step) -> Pieces:
    """MoCo and mixtures, the block's losses, that of its masks, and labels for the queue."""
    model = step.model
    pieces = mixed_moco(step) + block_losses(model.block_losses)
    pieces += reduced(1) if model.head.mask_weight else []
    return pieces + (gathered(step, step.batch) if model.label_queue is not None else [])


def prediction(step: Step) -> Pieces:
    """A scalar per term: two of Cross and TriBYOL, one of BYOL and SimSiam."""
    return reduced(1) * (2 if step.settings.type in ("Cross", "TriBYOL") else 1)


def swav(step: Step) -> Pieces:
    """Totals of K prototypes in each iteration for two views, and the loss."""
    head = step.model.head
    return 2 * head.settings["iterations"] * gathered(step, len(head.prototypes)) + reduced(1)


def pirl(step: Step) -> Pieces:
    """Two losses with their accuracies, and the bank."""
    return 2 * reduced(2) + banked(step, step.model.dim)


def odc(step: Step) -> Pieces:
    """Loss and weight, and the clusters."""
    return reduced(2) + clustered(step, step.model.cluster_bank, step.model.interval)


def classifier(step: Step) -> Pieces:
    """The loss; a policy that follows its gradient costs it once more."""
    policy = getattr(step.model, "policy", None)
    return reduced(1) * (2 if policy is not None and policy.needs_gradient else 1)


def amix(step: Step) -> Pieces:
    """Losses of plain images and mixtures, those of the block and of its masks; clusters, if any."""
    head = step.model.block_head
    pieces = 2 * reduced(1) + block_losses(head.losses) + labelled(step)
    pieces += reduced(1) if head.mask_weight else []
    if "infonce" in head.losses:  # everybody's features and places, and maybe classes
        pieces += gathered(step, step.batch * step.settings.head.in_channels)
        pieces += (1 + head.mask_labels) * gathered(step, step.batch, width=INDEX)
    return pieces


def w_mse(step: Step) -> Pieces:
    """Orders of the joined batch, and the embeddings of all views."""
    head, views = step.model.head, step.model.data_preprocessor.num_views
    rows = step.world * step.batch
    return broadcast(INDEX * head.iterations * rows) + gathered(
        step, views * step.batch * step.settings.neck.out_channels, gradient=True
    )


FORMULAS: dict[str, Callable[[Step], Pieces]] = {
    **dict.fromkeys(("AMix", "AMixClusters", "AutoMix"), amix),
    **dict.fromkeys(("AMixC", "AMixI"), amix_moco),
    **dict.fromkeys(("BSIM", "MixMoCo", "UnMix"), mixed_moco),
    **dict.fromkeys(("BYOL", "Cross", "SimSiam", "TriBYOL"), prediction),
    **dict.fromkeys(("ImageClassifier", "MixupClassifier"), classifier),
    **dict.fromkeys(("MoCHi", "MoCo"), moco),
    "BarlowTwins": barlow_twins,
    "WMSE": w_mse,
    "IMix": i_mix,
    "JaccardMoCo": jaccard_moco,
    "JaccardSimCLR": jaccard_simclr,
    "ODC": odc,
    "PIRL": pirl,
    "SimCLR": simclr,
    "SwAV": swav,
    "TriMix": trimix,
    "VICReg": vicreg,
}

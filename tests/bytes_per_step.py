"""Collectives of a training step besides gradients and batch norms, in closed form, for tests/methods.py.

With N images per process, W processes and embeddings of D numbers. Each function returns a list of (kind,
bytes of the result, calls per step); a fraction of a call is one in some steps only.
"""

from typing import NamedTuple

FLOAT, INDEX = 4, 8  # bytes


class Step(NamedTuple):
    """A step of ``model`` (built from the config's ``settings``) on ``batch`` images of ``image`` numbers."""

    model: object
    settings: dict
    batch: int
    world: int
    image: int

    @property
    def dim(self):
        """D, the size of the projector's output."""
        return self.settings["neck"]["out_channels"]


def reduced(numbers):
    """All-reduce of float32 numbers, and of their gradients."""
    return [("all_reduce", FLOAT * numbers, 2)]


def gathered(step, numbers, *, gradient=False, width=FLOAT):
    """All-gather of numbers of each process, and all-reduce of the gradient of all of them."""
    size = step.world * numbers * width
    return [("all_gather", size, 1)] + [("all_reduce", size, 1)] * gradient


def standardized(step):
    """Mean and variance of D dimensions over the joined batch."""
    return gathered(step, 2 * step.dim, gradient=True)


def enqueued(step):
    """Keys of all processes for every queue of MoCo."""
    widths = [queue.features.shape[1] for queue in step.model.queues]
    return sum((gathered(step, step.batch * width) for width in widths), [])


def shuffled(step, features=0):
    """Images of all processes, their order, and what the key network makes of them: embeddings, features."""
    widths = [queue.features.shape[1] for queue in step.model.queues] + [features] * (features > 0)
    pieces = gathered(step, step.batch * step.image) + [("broadcast", INDEX * step.world * step.batch, 1)]
    return pieces + sum((gathered(step, step.batch * width) for width in widths), [])


def banked(step, dim):
    """Rows and embeddings of all processes for a memory bank."""
    return gathered(step, step.batch, width=INDEX) + gathered(step, step.batch * dim)


def clustered(step, bank, interval):
    """A bank with clusters: its rows once more; every ``interval`` steps all labels and centroids."""
    sizes = INDEX * len(bank.labels), FLOAT * bank.centroids.numel()
    renewed = [("broadcast", size, 1 / interval) for size in sizes]
    return banked(step, bank.features.shape[1]) + gathered(step, step.batch, width=INDEX) + renewed


def labelled(step):
    """A source of labels: the loss of its classifier, its clusters."""
    source = getattr(step.model, "label_source", None)
    if source is None:
        return []
    pieces = reduced(1) if source.classifier is not None else []
    return pieces + (clustered(step, source.bank, source.interval) if source.bank is not None else [])


def block_losses(names):
    """Losses of a Mix Block, a scalar each; pbce also sums its number of pairs."""
    return sum((reduced(2 if name == "pbce" else 1) for name in names), [])


def uses_loss_gradient(step):
    """True if a mixing policy computes the loss once more, for saliency."""
    policy = getattr(step.model, "policy", None)
    return policy is not None and policy.needs_gradient


def barlow_twins(step):
    """Moments of two views, and their cross-correlation."""
    return 2 * standardized(step) + reduced(step.dim**2)


def trimix(step):
    """Barlow Twins, moments of the virtual embeddings, means of the other two terms, λ."""
    head, pieces = step.model.head, barlow_twins(step)
    if not head.needs_virtual:
        return pieces
    if step.model.lam_per == "step":
        pieces += [("broadcast", FLOAT, 1)]
    terms = [(head.virtual_weight, head.virtual_on, 3), (head.consistency_weight, head.consistency_on, 1)]
    if all(weight > 0 and on == "z" for weight, on, _ in terms):  # the views' moments serve all terms
        return pieces + standardized(step) + reduced(4)
    sizes = dict(y=step.settings["neck"]["in_channels"], z=step.dim)
    for weight, on, numbers in terms:
        if weight > 0:
            pieces += 2 * gathered(step, 2 * sizes[on], gradient=True) + reduced(numbers)
    return pieces


def simclr(step):
    """All views of all processes; loss and accuracy."""
    return gathered(step, 2 * step.batch * step.dim, gradient=True) + reduced(2)


def mixed_moco(step):
    """MoCo, InfoNCE of the mixtures, labels; saliency by InfoNCE."""
    head = step.model.head
    batches = 1 if step.model.pipeline == "cross" else 2
    pieces = batches * shuffled(step, step.settings["neck"]["in_channels"])
    pieces += enqueued(step) + labelled(step) + (reduced(2) if head.plain_weight else [])
    if head.mixed_weight or step.settings["type"] == "UnMix":
        pieces += reduced(1)
        pieces += reduced(2) if uses_loss_gradient(step) and step.model.label_source is None else []
    return pieces


def amix_moco(step):
    """MoCo and mixtures, the losses of the block and of its masks; labels of the queue."""
    model = step.model
    pieces = mixed_moco(step) + block_losses(model.block_losses)
    pieces += reduced(1) if model.head.mask_weight else []
    return pieces + (gathered(step, step.batch) if model.label_queue is not None else [])


def amix(step):
    """Losses of plain images and mixtures, those of the block and of its masks; InfoNCE gathers features."""
    head = step.model.block_head
    pieces = 2 * reduced(1) + block_losses(head.losses) + labelled(step)
    pieces += reduced(1) if head.mask_weight else []
    if "infonce" in head.losses:
        pieces += gathered(step, step.batch * step.settings["head"]["in_channels"])
        pieces += (1 + head.mask_labels) * gathered(step, step.batch, width=INDEX)
    return pieces


def swav(step):
    """The loss, and totals of K prototypes in each Sinkhorn iteration of two views."""
    head = step.model.head
    return 2 * head.settings["iterations"] * gathered(step, len(head.prototypes)) + reduced(1)


def prediction(step):
    """One scalar."""
    return reduced(1)


def two_predictions(step):
    """Two scalars."""
    return 2 * reduced(1)


def classifier(step):
    """The loss, and once more for a policy that follows its gradient."""
    return (1 + uses_loss_gradient(step)) * reduced(1)


def moco(step):
    """Loss and accuracy, shuffled keys, keys for the queue."""
    return reduced(2) + shuffled(step) + enqueued(step)


def i_mix(step):
    """Loss and accuracy, shuffled keys, keys for the queue, and all keys as classes."""
    return moco(step) + gathered(step, step.batch * step.dim)


def jaccard_moco(step):
    """Three losses with their accuracies, shuffled keys, keys for both queues."""
    return 3 * reduced(2) + shuffled(step) + enqueued(step)


def jaccard_simclr(step):
    """SimCLR for both projectors, and the loss of J."""
    return 2 * simclr(step) + reduced(2)


def odc(step):
    """The loss and the sum of the weights; the bank of clusters."""
    return reduced(2) + clustered(step, step.model.cluster_bank, step.model.interval)


def pirl(step):
    """Two losses with their accuracies; the bank."""
    return 2 * reduced(2) + banked(step, step.model.dim)


def vicreg(step):
    """A scalar, the means of two views and their covariances."""
    return reduced(1) + reduced(2 * step.dim) + reduced(2 * step.dim**2)


def w_mse(step):
    """Orders of the joined batch, and the embeddings of all views."""
    views, orders = step.model.data_preprocessor.num_views, step.model.head.iterations
    orders_size = orders * step.world * step.batch * INDEX
    return [("broadcast", orders_size, 1)] + gathered(step, views * step.batch * step.dim, gradient=True)

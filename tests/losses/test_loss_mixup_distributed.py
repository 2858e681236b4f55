"""Losses of mixed samples on two gloo processes against one process on the joined batch."""

import pytest
import torch
from processes import WORLD, results

from ssl_ext.losses import (
    cluster_cross_entropy,
    i_mix_terms,
    mixup_bce,
    mixup_info_nce,
    mixup_pbce,
    unit_rows,
    weighted_info_nce,
)

BATCH, DIMS, CLASSES = 4, 3, 3
PERMUTATIONS = torch.tensor([[1, 3, 0, 2], [3, 2, 1, 0]])  # within each process
LABELS = torch.tensor([[0, 1, 2, 1], [0, 0, 0, 1]])
COUNTS = torch.tensor([7, 30, 2])


def numbers(seed, *shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def inputs():
    """Embeddings of mixtures and of sources, logits: (WORLD, BATCH, 3 · DIMS)."""
    return numbers(0, WORLD, BATCH, 3 * DIMS)


QUEUE, LAM = unit_rows(numbers(1, 5, DIMS)), numbers(2, WORLD, BATCH).sigmoid()


def losses(x, permutation, labels, lam, weights):
    query, keys, logits = x.split(DIMS, 1)
    query, keys = unit_rows(query), unit_rows(keys)
    partners = keys[permutation]
    return dict(
        info_nce=mixup_info_nce(query, keys, partners, QUEUE, lam),
        weighted=weighted_info_nce(query, keys, QUEUE, weights),
        bce=mixup_bce(query, keys, partners, lam),
        pbce=mixup_pbce(logits, labels, labels[permutation], lam),
        i_mix=i_mix_terms(query, keys, QUEUE, permutation, lam).loss,
        cluster=cluster_cross_entropy(logits, labels, COUNTS),
    )


def weights():
    return numbers(3, WORLD, BATCH, BATCH).softmax(2)


def work(rank):
    x, saved = inputs()[rank].requires_grad_(), {}
    for name, loss in losses(x, PERMUTATIONS[rank], LABELS[rank], LAM[rank], weights()[rank]).items():
        saved[name] = loss.detach(), torch.autograd.grad(loss, x, retain_graph=True)[0]
    return saved


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mixup")
    return results(work, folder)


def test_losses_equal_one_process_on_the_joined_batch(processes):
    x = inputs().requires_grad_()
    permutation = torch.cat([PERMUTATIONS[0], BATCH + PERMUTATIONS[1]])
    joined = losses(
        x.flatten(0, 1), permutation, LABELS.flatten(), LAM.flatten(), torch.block_diag(*weights())
    )
    assert len(joined) == 6
    for name, loss in joined.items():
        (gradient,) = torch.autograd.grad(loss, x, retain_graph=True)
        assert gradient.abs().max() > 1e-3
        for rank, saved in enumerate(processes):
            value, found = saved[name]
            torch.testing.assert_close(value, loss.detach(), rtol=0, atol=1e-10, msg=name)
            torch.testing.assert_close(found / WORLD, gradient[rank], rtol=0, atol=1e-10, msg=name)

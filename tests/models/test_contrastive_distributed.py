"""Two gloo processes against one on the joined batch: contrastive losses, gradients and queues."""

import pytest
import torch
from mmengine.registry import init_default_scope
from processes import WORLD, results
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ssl_ext.losses import (
    info_nce_terms,
    jaccard_contrastive_loss,
    jaccard_contrastive_terms,
    nt_xent_terms,
    unit_rows,
)
from ssl_ext.models.utils import Queue, shuffled
from ssl_ext.registry import MODELS

BATCH, DIMS, QUEUE, SHUFFLED = 3, 4, 5, 8
QUEUES = unit_rows(
    torch.randn(2, QUEUE, DIMS, dtype=torch.float64, generator=torch.manual_seed(9)).flatten(0, 1)
)

MODEL = dict(
    type="JaccardMoCo",
    backbone=dict(type="ResNet_CIFAR", depth=18, out_indices=(3,), stem_channels=8, base_channels=8),
    neck=dict(type="BiProjector", in_channels=64, hid_channels=8, out_channels=4, norm_cfg=dict(type="BN1d")),
    head=dict(type="JaccardHead"),
    queue_size=7,
    data_preprocessor=dict(type="BaseDataPreprocessor"),
)


def inputs():
    """Embeddings q1, q2, k1, k2 of both processes, (4, WORLD, BATCH, DIMS)."""
    z = torch.randn(4, WORLD, BATCH, DIMS, dtype=torch.float64, generator=torch.manual_seed(0))
    z[2:] += z[:2]
    z[:, 1] += 1  # different statistics per process
    return z


def queues():
    return QUEUES.clone().chunk(2)


def moco(z):
    return info_nce_terms(unit_rows(z[0]), unit_rows(z[2]), queues()[0], temperature=0.3)


LOSSES = {
    "NT-Xent": lambda z: nt_xent_terms(z[0], z[2], temperature=0.3),
    "InfoNCE": moco,
    "Jaccard, SimCLR form": lambda z: jaccard_contrastive_terms(z[:2], z[2:], temperature=0.3),
    "Jaccard, MoCo form": lambda z: jaccard_contrastive_terms(z[:2], z[2:], queues(), temperature=0.3),
}
# One image per process: all negatives come from the other process.
SINGLE = {f"{name}, one image": LOSSES[name] for name in ("NT-Xent", "Jaccard, SimCLR form")}


def total(terms):
    """Sum of the loss terms with unequal weights."""
    return sum((i + 1) * term for i, term in enumerate(terms[:-1]))


def network():
    torch.manual_seed(1)
    return nn.Linear(DIMS, 6, dtype=torch.float64)


def network_loss(net, z):
    out = net(z.flatten(0, 1)).unflatten(0, z.shape[:2])
    return jaccard_contrastive_loss(out[:2], out[2:], alpha=(0.5, 0.2), temperature=0.3)


def views(rank, count):
    generator = torch.Generator().manual_seed(10 * count + rank)
    return list(torch.randn(2, count, 3, 8, 8, dtype=torch.float64, generator=generator))


def work(rank):
    saved = {}
    z = inputs()[:, rank].clone().requires_grad_()
    for name, loss in {**LOSSES, **SINGLE}.items():
        terms = loss(z[:, :1] if name in SINGLE else z)
        saved[name] = torch.stack(terms).detach()
        saved[f"{name} gradient"] = torch.autograd.grad(total(terms), z)[0]
    net = DistributedDataParallel(network())
    network_loss(net, z.detach()).backward()
    saved["net gradient"] = [parameter.grad for parameter in net.parameters()]

    queue = Queue(QUEUE, 1)
    contents = []
    for batch in (1, 2, 4):
        queue.enqueue(torch.arange(float(batch))[:, None] + 10 * rank + 100 * batch)
        contents.append(queue.features.roll(-int(queue.pointer), 0).flatten().clone())
    saved["queue"] = contents

    init_default_scope("ssl_ext")
    torch.manual_seed(2)
    # In float64 and with running statistics, so that MoCo's shuffling does not matter.
    model = MODELS.build(MODEL).double().train()
    model.key_network.eval()
    for count in (3, 2):
        before = [q.snapshot() for q in model.queues]
        model.loss(views(rank, count))
    with torch.no_grad():
        keys = [unit_rows(key) for key in model.key_network(views(rank, 2)[1])]
    embedded = []
    images = torch.arange(SHUFFLED) + 100.0 * rank
    torch.manual_seed(rank)
    results = shuffled(lambda share: embedded.append(share) or (share + 1, share.view(-1, 1) * 2), images)
    saved.update(images=images, embedded=embedded[0], results=results)
    saved.update(before=before, keys=keys, queues=[q.state_dict() for q in model.queues])
    return saved


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("contrastive")
    return results(work, folder)


@pytest.mark.parametrize("name", [*LOSSES, *SINGLE])
def test_losses_equal_one_process_on_the_joined_batch(processes, name):
    z = inputs().requires_grad_()
    part = z[:, :, :1] if name in SINGLE else z
    terms = {**LOSSES, **SINGLE}[name](part.flatten(1, 2))
    (gradient,) = torch.autograd.grad(total(terms), z)
    assert gradient.abs().max() > 1e-3
    for rank, saved in enumerate(processes):
        torch.testing.assert_close(saved[name], torch.stack(terms).detach(), rtol=0, atol=1e-10)
        found = saved[f"{name} gradient"] / WORLD
        torch.testing.assert_close(found, gradient[:, rank], rtol=0, atol=1e-10)


def test_ddp_parameter_gradient_equals_one_process(processes):
    net = network()
    network_loss(net, inputs().flatten(1, 2)).backward()
    for saved in processes:
        for found, parameter in zip(saved["net gradient"], net.parameters(), strict=True):
            torch.testing.assert_close(found, parameter.grad, rtol=0, atol=1e-10)


def test_a_queue_takes_the_rows_of_all_processes_in_rank_order(processes):
    arrived = [100, 110, 200, 201, 210, 211, 400, 401, 402, 403, 410, 411, 412, 413]
    for saved in processes:
        assert saved["queue"][1].tolist() == arrived[1:6]
        assert saved["queue"][2].tolist() == arrived[-5:]


def test_both_processes_have_the_same_queues(processes):
    first, second = processes
    for number in (0, 1):
        ours, theirs = first["queues"][number], second["queues"][number]
        assert torch.equal(ours["features"], theirs["features"])
        assert ours["pointer"] == theirs["pointer"] == (6 + 4) % 7
        # The six keys of the first batch are in rows 0 to 5; the four of the second start in row 6.
        joined = torch.cat([saved["keys"][number] for saved in processes])
        expected = first["before"][number].clone()
        expected[[6, 0, 1, 2]] = joined
        torch.testing.assert_close(ours["features"], expected)


def test_keys_are_embedded_in_an_order_across_processes(processes):
    shares = [saved["embedded"] for saved in processes]
    images = torch.cat([saved["images"] for saved in processes])
    assert torch.equal(torch.cat(shares).sort().values, images)
    for saved, share in zip(processes, shares, strict=True):
        foreign = ~torch.isin(share, saved["images"])
        assert len(share) == SHUFFLED and 0 < foreign.sum() < SHUFFLED
        assert torch.equal(saved["results"][0], saved["images"] + 1)
        assert torch.equal(saved["results"][1], saved["images"].view(-1, 1) * 2)

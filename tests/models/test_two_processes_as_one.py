"""Every registered algorithm: two processes take the steps of one on the joined batch.

What is drawn is replaced by numbers that are the same on every process: partners by the neighbour within a
process's images, shares by constants. Batch norms use their running statistics, which tie no images together.
"""

from unittest import mock

import pytest
import torch
from methods import IMAGES, METHODS, tiny_run, type_of
from mmengine.registry import init_default_scope
from processes import WORLD, results
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ssl_ext.apis import build_model, load_config

BATCH, STEPS = 8, 3
SHARE = 0.37
# Mixes a batch with itself in reverse: the images of a process are a mirrored part of all of them.
REVERSED = "UnMix"
# Which virtual embedding belongs to which mixture is asked among the mixtures of a process.
ELSEWHERE = {"TriMix": "tests/apis/test_distributed_train.py"}
CASES = [case for case in METHODS if type_of(case) not in ELSEWHERE]
CLOSE = dict(rtol=1e-8, atol=1e-10)
# PuzzleMix and AMix's block compute their masks in float32.
SINGLE = dict(rtol=1e-4, atol=1e-5)


def neighbours(count, **options):
    """A permutation that stays within the images of a process."""
    blocks = torch.arange(count).view(-1, BATCH) if count % BATCH == 0 else torch.arange(count)[None]
    return blocks.roll(1, 1).flatten().to(options.get("device") or "cpu")


def constant(value):
    def draw(*size, **options):
        size = size[0] if len(size) == 1 and not isinstance(size[0], int) else size
        options = {key: options[key] for key in ("device", "dtype") if key in options}
        return torch.full(tuple(size), value, **options)

    return draw


def first(*bounds_and_size, **options):
    """``torch.randint`` that always draws 0."""
    size = next((value for value in bounds_and_size if not isinstance(value, int)), ())
    return torch.zeros(tuple(size), dtype=torch.int64, device=options.get("device"))


def share_of(self, sample_shape=()):
    return torch.full_like(torch.broadcast_tensors(self.concentration0, self.concentration1)[0], SHARE)


def nothing_drawn():
    return mock.patch.multiple(
        torch,
        randperm=neighbours,
        rand=constant(SHARE),
        randint=first,
        rand_like=lambda like, **_: torch.full_like(like, SHARE),
        randint_like=lambda like, *_, **__: torch.zeros_like(like),
        _sample_dirichlet=lambda like, *_: torch.full_like(like, SHARE),
    )


def rows_of(case, rank):
    """Places of a process's images in the joined batch."""
    if case != REVERSED:
        return torch.arange(rank * BATCH, (rank + 1) * BATCH)
    half = torch.arange(rank * BATCH // 2, (rank + 1) * BATCH // 2)
    return torch.cat([half, WORLD * BATCH - 1 - half.flip(0)])


class Losses(nn.Module):
    """The loss of a model as what DDP calls."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, views, samples):
        return self.model.loss(views, samples)


def steps_of(case, rank=None):
    """Losses and states after some steps; on all images, or on those of one process."""
    torch.manual_seed(0)
    config = load_config(tiny_run(case, "unread.npz"))
    if case == REVERSED:
        config.model.queue_size = 2 * WORLD * BATCH  # whole batches leave it, in any order
    model = build_model(config).double().train()
    model.set_dataset_size(IMAGES)
    model.double()
    for part in model.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.eval()
    rows = slice(None) if rank is None else rows_of(case, rank)
    network = Losses(model)
    if rank is not None:
        network = DistributedDataParallel(network, find_unused_parameters=True)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    logged = []
    with nothing_drawn(), mock.patch.object(torch.distributions.Beta, "sample", share_of):
        for step in range(STEPS):
            generator = torch.Generator().manual_seed(step)
            shape = (WORLD * BATCH, 3, 8, 8)
            views = [
                torch.randn(shape, dtype=torch.float64, generator=generator)[rows]
                for _ in range(model.data_preprocessor.num_views)
            ]
            indices = torch.arange(WORLD * BATCH) + step * WORLD * BATCH
            with mock.patch("ssl_ext.models.utils.host_draws.get_rank", return_value=0):
                model.before_step(step + 1, step + 1)
            losses = network(views, dict(labels=(indices % 10)[rows], indices=indices[rows]))
            optimizer.zero_grad()
            sum(value for name, value in losses.items() if name.startswith("loss")).backward()
            optimizer.step()
            model.after_step(step + 1, STEPS)
            if model.cluster_bank is not None and step == 1:
                model.cluster_bank.refresh()
            logged.append({name: float(value.detach()) for name, value in losses.items()})
    return dict(losses=logged, state=model.state_dict())


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    """Losses and states of every algorithm on either process."""
    init_default_scope("ssl_ext")
    return results(lambda rank: {case: steps_of(case, rank) for case in CASES}, tmp_path_factory.mktemp("m"))


@pytest.mark.parametrize("case", CASES)
def test_two_processes_take_the_steps_of_one(case, processes):
    init_default_scope("ssl_ext")
    one = steps_of(case)
    both = [saved[case] for saved in processes]
    assert one["state"].keys() == both[0]["state"].keys()
    close = SINGLE if "mix_block" in METHODS[case].model or "clusters" in case else CLOSE
    for step, expected in enumerate(one["losses"]):
        for name, value in expected.items():
            mean = sum(process["losses"][step][name] for process in both) / WORLD
            assert mean == pytest.approx(value, rel=close["rtol"], abs=close["atol"]), (step, name)
    for name, value in one["state"].items():
        for process in both:
            found = process["state"][name]
            if case == REVERSED and "queue" in name and value.ndim == 2:
                # The keys of the processes lie one after the other, in another order than the joined batch.
                value, found = (entries[entries[:, 0].argsort()] for entries in (value, found))
            torch.testing.assert_close(found, value, **close, msg=lambda text, name=name: f"{name}: {text}")

"""Every registered algorithm: several processes take the steps of one on the joined batch.

What is drawn is replaced by numbers that are the same on every process: partners by the neighbour within a
process's images, shares by constants. Batch norms use

- ``running`` statistics, which tie no images together;
- ``joined`` statistics of all processes, as synchronised batch norms do;
- ``split``: those of a process (``SplitBN``), whose keys are embedded in an order across processes.
"""

import types
from contextlib import ExitStack, contextmanager
from itertools import product
from unittest import mock

import pytest
import torch
from methods import METHODS, tiny_run, type_of
from mmengine.registry import init_default_scope
from processes import results
from torch import nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from ssl_ext.apis import build_model, load_config
from ssl_ext.losses import all_reduce_sum
from ssl_ext.models.selfsup import MoCo
from ssl_ext.models.utils import shuffling
from ssl_ext.registry import MODELS

STEPS = 3
# Images of a process, by the number of processes.
BATCH = {2: 8, 8: 4}
SHARE = 0.37
# Mixes a batch with itself in reverse: the images of a process are a mirrored part of all of them.
REVERSED = "UnMix"
# Which virtual embedding belongs to which mixture is asked among the mixtures of a process.
ELSEWHERE = {"TriMix": "tests/apis/test_distributed_train.py"}
# A key network in evaluation mode, with running statistics: a process's own with SplitBN.
EVALUATED = ("AMixC", "AMixClusters", "AMixI", "MixMoCo-clusters")
CASES = [case for case in METHODS if type_of(case) not in ELSEWHERE]
QUICK = {("joined", "BYOL"), ("joined", "AMix"), ("split", "MoCo"), ("split", "IMix")}
CLOSE = dict(rtol=1e-8, atol=1e-10)
# PuzzleMix and AMix's block compute their masks in float32.
SINGLE = dict(rtol=1e-4, atol=1e-5)


def neighbours(batch):
    """Stands for ``torch.randperm``; stays within the images of a process."""

    def draw(count, **options):
        blocks = torch.arange(count).view(-1, batch) if count % batch == 0 else torch.arange(count)[None]
        return blocks.roll(1, 1).flatten().to(options.get("device") or "cpu")

    return draw


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


def nothing_drawn(permute):
    return mock.patch.multiple(
        torch,
        randperm=permute,
        rand=constant(SHARE),
        randint=first,
        rand_like=lambda like, **_: torch.full_like(like, SHARE),
        randint_like=lambda like, *_, **__: torch.zeros_like(like),
        _sample_dirichlet=lambda like, *_: torch.full_like(like, SHARE),
    )


def every_nth(world):
    """Stands for ``torch.randperm`` on one process: the neighbour among the images i, i + W, i + 2W, ..."""
    return lambda count, **_: torch.arange(count).roll(world)


def key_order(world, joined):
    """Order in which all keys are embedded: the same parts on one process and on W.

    Part p is the rows p, p + W, ... of one process (``joined``), or all rows of process p; gathered from W
    processes, image j · W + r is row r · N + j.
    """
    draw_order = torch.randperm

    def draw(count, **_):
        parts = draw_order(count, generator=torch.Generator().manual_seed(0))
        if joined:
            return parts
        place = torch.arange(count).view(-1, world).T.flatten().argsort()
        return place[parts.view(-1, world).T.flatten()]

    return types.SimpleNamespace(randperm=draw)


@contextmanager
def settled(norms, world, *, joined):
    """Replaces all that is drawn, on one process for the joined batch or on one of W."""
    split = norms == "split"
    patches = [
        nothing_drawn(every_nth(world) if split and joined else neighbours(BATCH[world])),
        mock.patch.object(torch.distributions.Beta, "sample", share_of),
    ]
    if split:
        patches.append(mock.patch.object(shuffling, "torch", key_order(world, joined)))
    with ExitStack() as stack:
        for patch in patches:
            stack.enter_context(patch)
        yield


def rows_of(case, norms, rank, world):
    """Places of a process's images in the joined batch."""
    batch = BATCH[world]
    if norms == "split":
        return torch.arange(rank, world * batch, world)
    if case != REVERSED:
        return torch.arange(rank * batch, (rank + 1) * batch)
    half = torch.arange(rank * batch // 2, (rank + 1) * batch // 2)
    return torch.cat([half, world * batch - 1 - half.flip(0)])


def joined_statistics(norm, x):
    """Batch normalisation with the statistics of all processes."""
    if not norm.training:
        return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
    dims = [0, *range(2, x.ndim)]
    count = all_reduce_sum(torch.tensor(float(x.numel() / x.shape[1]), dtype=x.dtype))
    shape = (1, -1) + (1,) * (x.ndim - 2)
    mean = all_reduce_sum(x.sum(dims)) / count
    variance = all_reduce_sum((x - mean.view(shape)).square().sum(dims)) / count
    with torch.no_grad():
        norm.running_mean.lerp_(mean, norm.momentum)
        norm.running_var.lerp_(variance * count / (count - 1), norm.momentum)
        norm.num_batches_tracked += 1
    scale = (variance + norm.eps).rsqrt() * norm.weight
    return (x - mean.view(shape)) * scale.view(shape) + norm.bias.view(shape)


def settle_layers(model, norms):
    for part in model.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            if norms == "joined":
                part.forward = types.MethodType(joined_statistics, part)
            else:
                part.eval()


class Losses(nn.Module):
    """The loss of a model as what DDP calls."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, views, samples):
        return self.model.loss(views, samples)


def build(case, norms, world):
    torch.manual_seed(0)
    config = load_config(tiny_run(case, "unread.npz"))
    images = world * BATCH[world]
    if norms == "split" or case == REVERSED:
        config.model.queue_size = 2 * images  # whole batches leave it, in any order
    if norms == "split":
        for part in (config.model.backbone, config.model.neck):
            part.norm_cfg = dict(type="SplitBN", num_splits=world)
    if config.model.get("policy", {}).get("name") == "puzzlemix" and world > 2:
        # Its graph cuts take float32 saliency, a gradient of the mean over a process's images: ties flip.
        config.model.policy.name = "cutmix"
    model = build_model(config).double().train()
    model.set_dataset_size(STEPS * images)
    model.double()
    settle_layers(model, norms)
    return model


def steps_of(case, norms, world, rank=None):
    """Losses and states after some steps of plain SGD; on all images, or on those of one process."""
    model = build(case, norms, world)
    images = world * BATCH[world]
    rows = slice(None) if rank is None else rows_of(case, norms, rank, world)
    network = Losses(model)
    if rank is not None:
        network = DistributedDataParallel(network, find_unused_parameters=True, broadcast_buffers=False)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    logged = []
    with settled(norms, world, joined=rank is None):
        for step in range(STEPS):
            generator = torch.Generator().manual_seed(step)
            views = [
                torch.randn((images, 3, 8, 8), dtype=torch.float64, generator=generator)[rows]
                for _ in range(model.data_preprocessor.num_views)
            ]
            indices = torch.arange(images) + step * images
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


def is_moco(case):
    return issubclass(MODELS.get(type_of(case)), MoCo)


def matrix():
    init_default_scope("ssl_ext")
    for world, norms, case in product(BATCH, ("running", "joined", "split"), CASES):
        if norms != "split" or is_moco(case) and case not in (REVERSED, *EVALUATED):
            quick = world == 2 and (norms == "running" or (norms, case) in QUICK)
            yield pytest.param(world, norms, case, marks=() if quick else pytest.mark.slow)


@pytest.fixture(scope="module")
def processes(request, tmp_path_factory):
    """Losses and states of every selected algorithm on each process."""
    selected, found = {}, {}
    for item in request.session.items:
        values = getattr(getattr(item, "callspec", None), "params", {})
        if "norms" in values:
            selected.setdefault((values["world"], values["norms"]), set()).add(values["case"])

    def of(world, norms):
        if (world, norms) not in found:
            cases = selected[world, norms]
            found[world, norms] = results(
                lambda rank: {case: steps_of(case, norms, world, rank) for case in sorted(cases)},
                tmp_path_factory.mktemp("processes"),
                world=world,
            )
        return found[world, norms]

    return of


def ordered(entries):
    """Entries of a queue, in which the keys of the processes lie one after the other."""
    return entries[entries.view(len(entries), -1)[:, 0].argsort()]


@pytest.mark.parametrize(("world", "norms", "case"), matrix())
def test_processes_take_the_steps_of_one(world, norms, case, processes):
    init_default_scope("ssl_ext")
    one = steps_of(case, norms, world)
    all_of_them = [saved[case] for saved in processes(world, norms)]
    assert one["state"].keys() == all_of_them[0]["state"].keys()
    close = SINGLE if "mix_block" in METHODS[case].model or "clusters" in case else CLOSE
    for step, expected in enumerate(one["losses"]):
        for name, value in expected.items():
            mean = sum(process["losses"][step][name] for process in all_of_them) / world
            assert mean == pytest.approx(value, rel=close["rtol"], abs=close["atol"]), (step, name)
    for name, value in one["state"].items():
        for process in all_of_them:
            found = process["state"][name]
            if norms == "split" and "running" in name:
                found = torch.stack([process["state"][name] for process in all_of_them]).mean(0)
            if (case == REVERSED or norms == "split") and "queue" in name and value.ndim:
                value, found = ordered(value), ordered(found)
            torch.testing.assert_close(found, value, **close, msg=lambda text, name=name: f"{name}: {text}")

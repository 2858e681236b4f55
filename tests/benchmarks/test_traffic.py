"""Collectives of a training step of every algorithm: counted on two processes, and in closed form."""

import copy
from collections import Counter

import pytest
import torch
import torch.distributed as dist
from benchmarks.scaling import ScaledStep
from benchmarks.traffic import (
    CollectiveCounter,
    kind_of,
    norm_passes,
    norm_traffic,
    sent_bytes,
)
from methods import (
    BACKBONE,
    BLOCK,
    CLASSIFIER,
    DIM,
    METHODS,
    NECK,
    QUEUE,
    WIDTH,
    cutmix,
    tiny_run,
    traffic,
    type_of,
)
from processes import WORLD, results
from torch.nn.modules import _functions

from ssl_ext.apis import build_model, load_config

pytestmark = pytest.mark.skipif(
    torch.cuda.is_available(), reason="forked processes cannot use a GPU; run with CUDA_VISIBLE_DEVICES="
)
BATCH, SIZE, IMAGES, STEPS = 8, 8, 30, 2
# Further settings that affect the traffic, besides those in the table of algorithms.
PUZZLE = dict(policy=dict(type="MixingPolicy", name="puzzlemix"))
ALL_LOSSES = ("ce", "pbce", "bce", "infonce")
VARIANTS = {
    "AMix-all": dict(
        CLASSIFIER, **BLOCK, momentum=0.9, block_head=dict(losses=ALL_LOSSES, mask_labels=True, mask_weight=0)
    ),
    "AMix-infonce": dict(CLASSIFIER, **BLOCK, momentum=0.9, block_head=dict(losses=("infonce",))),
    "AMixC-labels": dict(
        QUEUE,
        **BLOCK,
        labels=dict(source="ground-truth", num_classes=10),
        block_losses=ALL_LOSSES,
        mask_labels=True,
        head=dict(type="AMixHead", plain_weight=0, mask_weight=0),
    ),
    "MixMoCo-saliency": dict(QUEUE, head=dict(type="MixMoCoHead"), **PUZZLE),
    "MixMoCo-plain": dict(QUEUE, head=dict(type="MixMoCoHead", mixed_weight=0), policy=cutmix()),
    "MixupClassifier-saliency": dict(CLASSIFIER, **PUZZLE),
    "TriMix-consistency": dict(neck=NECK, head=dict(type="TriMixHead", virtual_weight=0)),
    "TriMix-features": dict(neck=NECK, head=dict(type="TriMixHead", virtual_on="y")),
    "TriMix-twins": dict(neck=NECK, head=dict(type="TriMixHead", virtual_weight=0, consistency_weight=0)),
}


def tiny_case(case):
    name = type_of(case)
    config = load_config(tiny_run(case if case in METHODS else name, "none", world=WORLD))
    if case in VARIANTS:
        config.model = dict(type=name, backbone=BACKBONE, **copy.deepcopy(VARIANTS[case]))
    return config


def counted_and_expected(case):
    """Traffic of a step besides gradients, counted and in closed form."""
    config = tiny_case(case)
    step = ScaledStep(config, BATCH, SIZE, IMAGES)
    counted = Counter(step.count(STEPS))
    # All gradients of so small a network fit in DDP's first bucket.
    counted["all_reduce", sum(4 * p.numel() for p in step.joined.parameters() if p.requires_grad)] -= 1
    return +counted, traffic(step.joined, config.model, BATCH, WORLD, SIZE)


def sent_by_synchronised_norms(channels):
    """Traffic of torch's own function, one pass with a gradient and one without; its kernels are for GPUs."""
    few = torch.zeros(channels)
    kernels = dict(
        batch_norm_stats=lambda *_: (few, few),
        batch_norm_gather_stats_with_counts=lambda *_: (few, few),
        batch_norm_elemt=lambda x, *_: x.clone(),
        batch_norm_backward_reduce=lambda *_: (few, few, few, few),
        batch_norm_backward_elemt=lambda gradient, *_: gradient.clone(),
    )
    with pytest.MonkeyPatch.context() as patch, CollectiveCounter() as counter:
        for name, kernel in kernels.items():
            patch.setattr(torch, name, kernel)
        for needed in (True, False):
            x = torch.randn(4, channels, 2, 2, requires_grad=needed)
            weight, bias = (torch.zeros(channels, requires_grad=True) for _ in range(2))
            settings = (few, few, 1e-5, 0.1, dist.group.WORLD, WORLD)
            _functions.SyncBatchNorm.apply(x, weight, bias, *settings).sum().backward()
    return dict(counter.calls)


@pytest.fixture(scope="module")
def counts(tmp_path_factory):
    """Traffic of every case, and that of synchronised batch norms, on either process."""

    def work(rank):
        found = {case: counted_and_expected(case) for case in (*METHODS, *VARIANTS)}
        return found, sent_by_synchronised_norms(6)

    return results(work, tmp_path_factory.mktemp("traffic"))


@pytest.mark.parametrize("case", [*METHODS, *VARIANTS])
def test_the_closed_form_is_what_a_step_sends(case, counts):
    for found, _ in counts:
        counted, expected = found[case]
        assert counted == expected


def test_some_of_it_in_numbers(counts):
    found = {case: counted for case, (counted, _) in counts[0][0].items()}
    assert found["BarlowTwins"] == {
        ("all_gather", 4 * WORLD * 2 * DIM): 2,
        ("all_reduce", 4 * WORLD * 2 * DIM): 2,
        ("all_reduce", 4 * DIM**2): 2,
    }
    rows = 4 * WORLD * 2 * BATCH * DIM
    assert found["SimCLR"].items() >= {("all_gather", rows): 1, ("all_reduce", rows): 1}.items()
    # Labels of all images and three centroids in every other step.
    assert found["ODC"][("broadcast", 8 * IMAGES)] == found["ODC"][("broadcast", 4 * 3 * DIM)] == 0.5
    assert found["TriMix"].keys() - found["TriMix-epoch"].keys() == {("broadcast", 4)}


def test_synchronised_batch_norms_send_what_torch_sends(counts):
    expected = norm_traffic({(6, True): 1, (6, False): 1}, WORLD)
    assert len(expected) == 2
    assert [sent for _, sent in counts] == [expected] * WORLD


@pytest.mark.parametrize(("case", "passes", "backward"), [("BarlowTwins", 2, 2), ("BYOL", 4, 2)])
def test_passes_through_batch_norms(case, passes, backward):
    model = build_model(tiny_case(case)).train()

    def step():
        model.loss([torch.randn(BATCH, 3, SIZE, SIZE) for _ in range(2)])
        model.eval()
        model.backbone(torch.randn(2, 3, SIZE, SIZE))

    found = norm_passes(model, step)
    # The stem and the first stage, two blocks of two, are this wide; passes of EMA networks have no gradient.
    assert found[WIDTH, True] == 5 * backward and found[WIDTH, False] == 5 * (passes - backward)


def test_one_process_sends_nothing():
    config = tiny_case("SimCLR")
    assert not traffic(build_model(config), config.model, BATCH, 1, SIZE)


def test_kinds_and_bytes():
    names = ("allreduce_", "_allgather_base_", "alltoall_")
    assert [kind_of(name) for name in names] == ["all_reduce", "all_gather", "alltoall_"]
    calls = {("all_reduce", 8): 2, ("all_gather", 8): 1, ("broadcast", 8): 0.5}
    assert sent_bytes(calls, 4) == 2 * 8 * 1.5 + 8 * 0.75 + 4

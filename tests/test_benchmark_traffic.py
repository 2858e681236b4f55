"""What a training step of every algorithm sends: counted on two processes, and in closed form."""

import copy
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch.nn.modules import _functions

from ssl_ext.apis import build_model, load_config
from ssl_ext.benchmarks.scaling_measure import period
from ssl_ext.benchmarks.scaling_step import ScaledStep, StepMaker
from ssl_ext.benchmarks.traffic import (
    CollectiveCounter,
    NormPass,
    collectives,
    gradient_collectives,
    norm_collectives,
    norm_passes,
    tally,
)
from ssl_ext.benchmarks.traffic_formulas import FORMULAS, loss_collectives, similarities
from ssl_ext.errors import UserError

# The tiny run of every registered algorithm, and processes that are quick to start.
sys.path.append(str(Path(__file__).parent / "engine"))
from killed_runs import forked  # noqa: E402
from methods import (  # noqa: E402
    BACKBONE,
    BLOCK,
    CLASSIFIER,
    DIM,
    METHODS,
    NECK,
    QUEUE,
    WIDTH,
    cutmix,
    registered_algorithms,
    tiny_run,
    type_of,
)

pytestmark = pytest.mark.skipif(
    torch.cuda.is_available(), reason="forked processes cannot use a GPU; run with CUDA_VISIBLE_DEVICES="
)
WORLD, BATCH, IMAGES, STEPS = 2, 8, 30, 2
# Settings on which it depends what is sent, besides those in the table of algorithms.
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


def counted_and_predicted(case):
    """Tallies of the collectives of a step, as they were counted and by the formula."""
    config = tiny_case(case)
    step = ScaledStep(StepMaker(config.to_dict(), BATCH, 8, 1, IMAGES), dist.get_rank(), WORLD)
    counted = step.count(BATCH, STEPS)
    model = step.joined
    return tally(counted), tally(
        [*gradient_collectives(model), *loss_collectives(model, config.model, BATCH, WORLD)]
    )


def sent_by_synchronised_norms(channels):
    """Tally of torch's own function, one pass with a way back and one without; its kernels are for GPUs."""
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
    return tally(collectives(counter.calls))


@pytest.fixture(scope="module")
def counts(tmp_path_factory):
    """Both tallies of every case, and that of synchronised batch norms, of either process."""
    folder = tmp_path_factory.mktemp("traffic")

    def work():
        found = {case: counted_and_predicted(case) for case in (*METHODS, *VARIANTS)}
        torch.save((found, sent_by_synchronised_norms(6)), folder / f"{dist.get_rank()}.pt")

    assert forked(WORLD, work, folder / "log") == [0, 0], (folder / "log").read_text()
    return [torch.load(folder / f"{rank}.pt") for rank in range(WORLD)]


def test_every_algorithm_has_a_formula():
    assert FORMULAS.keys() == registered_algorithms() - {"FasterRCNN", "PlainBackbone"}


@pytest.mark.parametrize("case", [*METHODS, *VARIANTS])
def test_the_formula_is_what_a_step_sends(case, counts):
    for found, _ in counts:
        counted, predicted = found[case]
        assert counted == predicted


def test_some_of_it_in_numbers(counts):
    found = {case: counted for case, (counted, _) in counts[0][0].items()}
    weights = sum(w.numel() for w in build_model(tiny_case("BarlowTwins")).parameters())
    assert found["BarlowTwins"] == {
        ("all_reduce", 4 * weights): 1,
        ("all_gather", 4 * WORLD * 2 * DIM): 2,
        ("all_reduce", 4 * WORLD * 2 * DIM): 2,
        ("all_reduce", 4 * DIM**2): 2,
    }
    rows = 4 * WORLD * 2 * BATCH * DIM
    assert found["SimCLR"].items() >= {("all_gather", rows): 1, ("all_reduce", rows): 1}.items()
    # Labels of all images and three centroids in every other step.
    assert found["ODC"][("broadcast", 8 * IMAGES)] == found["ODC"][("broadcast", 4 * 3 * DIM)] == 0.5
    assert found["TriMix"].keys() - found["TriMix-epoch"].keys() == {("broadcast", 4)}


def test_the_formula_of_batch_norms_is_what_torch_sends(counts):
    expected = tally(norm_collectives([NormPass(6, True), NormPass(6, False)], WORLD))
    assert len(expected) == 2
    assert [sent for _, sent in counts] == [expected] * WORLD


@pytest.mark.parametrize(("case", "passes", "backward"), [("BarlowTwins", 2, 2), ("BYOL", 4, 2)])
def test_passes_through_batch_norms(case, passes, backward):
    model = build_model(tiny_case(case)).train()
    with norm_passes(model) as found:
        model.loss([torch.randn(BATCH, 3, 8, 8) for _ in range(2)])
        model.eval()
        model.backbone(torch.randn(2, 3, 8, 8))
    stem = [p for p in found if p.channels == WIDTH]
    # The stem and the first stage, two blocks of two, are this wide; a target's passes have no way back.
    assert len(stem) == 5 * passes and sum(p.backward for p in stem) == 5 * backward


def test_one_process_sends_nothing_and_unknown_models_are_named():
    config = tiny_case("SimCLR")
    model = build_model(config)
    assert loss_collectives(model, config.model, BATCH, 1) == []
    config.model.type = "Other"
    with pytest.raises(UserError, match="model.type is 'Other'; what a step sends is known of AMix, "):
        loss_collectives(model, config.model, BATCH, 2)


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("SimCLR", (1, 2 * BATCH, 2 * BATCH, DIM)),
        ("JaccardSimCLR", (3, 2 * BATCH, 2 * BATCH, DIM)),
        ("IMix", (1, BATCH, BATCH, DIM)),
        ("AMix-infonce", (1, BATCH, BATCH, 2 * WIDTH)),
        ("AMix", (0, 0, 0, 0)),
        ("BarlowTwins", (0, 0, 0, 0)),
    ],
)
def test_similarities_that_grow(case, expected):
    config = tiny_case(case)
    assert similarities(build_model(config), config.model, BATCH) == expected


def test_the_period_of_what_is_sent_now_and_then():
    config = tiny_case("ODC")
    model = build_model(config)
    model.set_dataset_size(IMAGES)
    assert period(loss_collectives(model, config.model, BATCH, WORLD)) == 2
    assert period([]) == 1

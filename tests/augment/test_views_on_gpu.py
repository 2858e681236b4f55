"""Views on a GPU: kernel against batched operations for every shipped sequence, capture, time."""

import runpy
import sys
from pathlib import Path

import pytest
import torch

from ssl_ext import augment as a
from ssl_ext.augment import fused

sys.path.insert(0, str(Path(__file__).parent))
from fused_cases import CASES, MEAN, SIMCLR, STD, levels_apart, numbers_of

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

FOLDER = Path(__file__).parents[2] / "configs/_base_/views"
# Inheriting files have the same sequence with another number of views.
SHIPPED = {
    f"{path.stem} {number}": (view["transforms"], 28 if "medical" in path.stem else 32)
    for path in sorted(FOLDER.glob("*.py"))
    if "_base_ =" not in path.read_text()
    for number, view in enumerate(runpy.run_path(str(path))["views"])
    if not any(size in path.stem for size in ("64px", "96px", "224px"))
}


def built(transforms):
    members = [getattr(a, t["type"])(**{k: v for k, v in t.items() if k != "type"}) for t in transforms]
    return a.AugmentationSequence([*members, a.Normalize(MEAN, STD)])


def batch(*shape):
    # Smooth images with some noise: crops of pure noise would look alike.
    torch.manual_seed(0)
    small = torch.rand(shape[0], shape[1], 4, 4, device="cuda")
    smooth = torch.nn.functional.interpolate(small, shape[2:], mode="bicubic").clamp(0, 1) * 230
    return (smooth + 25 * torch.rand(shape, device="cuda")).to(torch.uint8)


def check(sequence, images):
    """At most 1 of 200 views may have another crop, where rounding decides between two sizes."""
    numbers = numbers_of(sequence, images, device="cuda")
    kernel, rest = fused.plan(sequence).taken, fused.plan(sequence).rest
    part = a.AugmentationSequence([member for member, _ in kernel.values()])
    rows = sum(member.draws for member in part)
    apart = levels_apart(part, images, numbers[:rows])
    assert (apart > 1).float().mean() <= 1 / 200, apart.sort(descending=True).values[:10]
    if rest:
        # Equalisation rounds to integer levels, which may differ between forms.
        apart = levels_apart(sequence, images, numbers)
        assert apart.median() <= 1, apart.median()


@pytest.mark.parametrize("name", SHIPPED)
def test_kernel_of_shipped_views_equals_the_batched_operations(name):
    transforms, side = SHIPPED[name]
    sequence, images = built(transforms).to("cuda"), batch(256, 3, side, side)
    assert fused.is_fusible(sequence, images, sequence.output_shape(tuple(images.shape)))
    check(sequence, images)


@pytest.mark.parametrize("name", [name for name in CASES if name not in ("simclr", "medical", "padded crop")])
def test_kernel_equals_the_batched_operations(name):
    members, shape, _ = CASES[name]
    check(a.AugmentationSequence(members).to("cuda"), batch(64, *shape[1:]))


@pytest.mark.parametrize("side", [32, 48])
def test_views_are_drawn_in_a_cuda_graph_without_waiting(side):
    """Replays draw from torch's generator as the same calls without a graph do."""
    sequence, images = a.AugmentationSequence(SIMCLR).to("cuda"), batch(64, 3, side, side)
    a.draw_views(sequence, images, 2)
    torch.cuda.set_sync_debug_mode("error")
    try:
        torch.cuda.manual_seed(3)
        expected = [a.draw_views(sequence, images, 2) for _ in range(3)]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        views = a.draw_views(sequence, images, 2)
    torch.cuda.manual_seed(3)
    for pair in expected:
        graph.replay()
        assert torch.equal(torch.cat(views), torch.cat(pair))
    assert not torch.equal(*expected[0]) and not torch.equal(expected[0][0], expected[1][0])


def test_draws_of_the_kernel_follow_the_seed_alone():
    sequence, images = a.AugmentationSequence(SIMCLR).to("cuda"), batch(16, 3, 32, 32)
    torch.manual_seed(1)
    first = a.draw_views(sequence, images, 3)
    torch.manual_seed(1)
    assert torch.equal(torch.stack(a.draw_views(sequence, images, 3)), torch.stack(first))
    generator = torch.Generator("cuda").manual_seed(1)
    assert torch.equal(torch.stack(a.draw_views(sequence, images, 3, generator)), torch.stack(first))


def test_a_generator_on_the_cpu_gives_the_parameters_of_the_cpu():
    sequence, images = a.AugmentationSequence(SIMCLR), batch(32, 3, 32, 32)
    expected = a.draw_views(sequence, images.cpu(), 2, torch.Generator().manual_seed(4))
    views = a.draw_views(sequence.to("cuda"), images, 2, torch.Generator().manual_seed(4))
    sequence.to("cpu")
    assert (torch.cat(views).cpu() - torch.cat(expected)).abs().max() < 4 / 255


@pytest.mark.parametrize("task", ["multi-class", "multi-label"])
@pytest.mark.parametrize("solver", ["sgd", "adamw"])
def test_captured_probes_equal_those_of_the_cpu(solver, task):
    evaluation = pytest.importorskip("ssl_ext.evaluation")
    torch.manual_seed(0)
    several = task == "multi-label"
    labels = torch.randint(2, (1000, 5)) if several else torch.randint(5, (1000,))
    shift = labels.float() if several else torch.nn.functional.one_hot(labels, 5).float()
    features = torch.randn(1000, 16) + shift @ torch.randn(5, 16)
    settings = dict(num_classes=5, task=task, solver=solver, epochs=6, batch_size=64, lr=0.02, milestones=[3])

    def probes(device):
        x, y = features.to(device), labels.to(device)
        data = [evaluation.ProbeData(x[:900], y[:900], x[900:], y[900:], seed=s) for s in (0, 1)]
        return evaluation.linear_probes([*data, evaluation.ProbeData(x[:900], y[:900])], **settings)

    for ours, theirs in zip(probes("cuda"), probes("cpu"), strict=True):
        torch.testing.assert_close(ours.last.weight.cpu(), theirs.last.weight, rtol=1e-3, atol=1e-4)
        assert ours.chosen["best_epoch"] == theirs.chosen["best_epoch"]

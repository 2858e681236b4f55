"""The measurement itself: order of the calls, ratios, and that all ways of the benchmark do the same work."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from rich.console import Console

from ssl_ext.benchmarks import augment, pairs
from ssl_ext.benchmarks.pairs import Comparison, compare
from ssl_ext.models.data_preprocessor import build_augmentation

VIEWS = Path(__file__).parents[2] / "configs" / "_base_" / "views"


def test_calls_are_interleaved_and_warm_ups_are_not_counted():
    calls = []
    result = compare(
        {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, reference="a", pairs=5, warmup=2
    )
    assert "".join(calls) == "ab" * 7
    assert {name: len(times) for name, times in result.seconds.items()} == {"a": 5, "b": 5}
    assert result.peak_resident > 2**20


def test_ratios_are_taken_round_by_round():
    # The machine slows down: medians of the times tell 4×, every round tells 2×.
    slowing = {"a": (2.0, 4.0, 8.0, 16.0, 32.0), "b": (1.0, 2.0, 4.0, 8.0, 16.0)}
    result = Comparison(
        "a", slowing, items=40, unit="views", threads=3, peak_resident=2**20, peak_device=None
    )
    assert result.speedup("b") == (2.0, 2.0, 2.0)
    assert result.median("a") == 8.0 and result.rate("b") == 10.0
    text = io.StringIO()
    pairs.show(result, "title", "rich", console=Console(file=text, width=200))
    for expected in (
        "2.00×",
        "threads: 3",
        "views/s",
        "1 MiB",
        f"torch {torch.__version__.split('+')[0]}",
        "rich ",
    ):
        assert expected in text.getvalue()


@pytest.mark.parametrize("settings", [{"reference": "c"}, {"pairs": 4}, {"warmup": 0}])
def test_bad_comparisons_are_refused(settings):
    with pytest.raises(ValueError, match="must be at least|needs two callables"):
        compare({"a": int, "b": int}, **{"reference": "a", "pairs": 5, "warmup": 1, **settings})


WAYS = {
    "ours": lambda images, blur: augment._ours(images, build_augmentation(augment.simclr_views(16, blur))),
    "mmpretrain": lambda images, blur: augment._mmpretrain(images, 16, blur),
    "torchvision": lambda images, blur: augment._torchvision(
        images, build_augmentation(augment.simclr_views(16, blur))
    ),
}


@pytest.mark.parametrize("blur", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_every_way_makes_two_views_of_every_image(way, blur):
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), np.uint8)
    views = WAYS[way](images, blur)()
    assert len(views) == 2 and not torch.equal(*views)
    for view in views:
        assert view.shape == (3, 3, 16, 16) and view.dtype == torch.float32
        assert view.min() >= 0 and 0.5 < view.max() <= 1 + 1e-6


@pytest.mark.parametrize("name", ["nat", "short", "nov", "grey"])
def test_medical_sequences_have_a_peer_of_the_same_operations(name):
    config = Config.fromfile(VIEWS / f"medical-{name}.py").views
    assert [view.repeats for view in config] == [augment.VIEWS]
    sequence = build_augmentation(config[0].transforms)
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28, 3), np.uint8)
    for way in (augment._ours, augment._torchvision):
        views = way(images, sequence)()
        assert len(views) == 2 and not torch.equal(*views)
        assert all(view.shape == (3, 3, 28, 28) and 0 <= view.min() < view.max() <= 1 for view in views)
    result = augment.benchmark_augment(sequence=config[0].transforms, batch_size=2, size=28, pairs=5)
    assert list(result.seconds) == [augment.OURS, augment.TORCHVISION]
    assert result.reference == augment.TORCHVISION and result.items == 4


def test_peer_operations_equal_ours_where_nothing_is_drawn():
    images = np.random.default_rng(1).integers(40, 90, (4, 30, 30, 3), np.uint8)
    for transforms, levels in (
        ([dict(type="RandomEqualize", p=1.0)], 0),
        ([dict(type="RandomSharpness", factor=(3.0, 3.0))], 2),  # Pillow rounds before it blends
        ([dict(type="RandomGrayscale", p=1.0)], 1),
        ([dict(type="RandomHorizontalFlip", p=1.0)], 0),
        ([dict(type="ColorJitter", brightness=(1.5, 1.5))], 1),
    ):
        sequence = build_augmentation(transforms)
        ours, theirs = (way(images, sequence)()[0] for way in (augment._ours, augment._torchvision))
        assert (ours - theirs).abs().max() * 255 <= levels + 1e-3, transforms


def test_benchmark_counts_views_and_restores_the_threads():
    threads = torch.get_num_threads()
    result = augment.benchmark_augment(pairs=5, threads=threads + 1, batch_size=2, size=8)
    assert torch.get_num_threads() == threads
    assert (
        result.items == 4
        and result.threads == threads + 1
        and result.unit == "views"
        and len(result.seconds) == 3
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sequence": "moco"}, "simclr-without-blur, got 'moco'"),
        ({"sequence": [dict(type="RandomSolarize")]}, "a RandomSolarize, which has no peer"),
        ({"batch_size": 0}, "at least 1, got 0"),
    ],
)
def test_bad_benchmarks_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        augment.benchmark_augment(**settings)

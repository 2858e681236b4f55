"""Interleaved timing; benchmarks of augmentations, files, kNN and the linear probe; arguments."""

import io

import numpy as np
import pytest
import torch
from benchmarks import augment, compare, files, knn, linear
from benchmarks.options import CONFIGS
from mmengine.config import Config
from rich.console import Console

from ssl_ext.models.data_preprocessor import build_augmentation

VIEWS = CONFIGS / "_base_/views"


def test_calls_are_interleaved_and_warm_ups_are_not_counted():
    calls = []
    callables = {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}
    result = compare.compare(callables, reference="a", pairs=5, warmup=2)
    assert "".join(calls) == "ab" * 7
    assert {name: len(times) for name, times in result.seconds.items()} == {"a": 5, "b": 5}
    assert result.peak_resident_bytes > 2**20


def test_ratios_are_taken_round_by_round():
    # The machine slows down: the medians of the times differ 4-fold, every round's times 2-fold.
    slowing = {"a": (2.0, 4.0, 8.0, 16.0, 32.0), "b": (1.0, 2.0, 4.0, 8.0, 16.0)}
    result = compare.Comparison("a", slowing, 40, "views", 3, 2**20, None)
    assert result.speedup("b") == (2.0, 2.0, 2.0)
    assert result.median("a") == 8.0 and result.rate("b") == 10.0
    assert compare.ratio((1.0, 9.0, 4.0), (2.0, 3.0, 4.0), 2) == (2.0, 1.0, 6.0)
    text = io.StringIO()
    compare.show(Console(file=text, width=200), result, "title", "a sentence")
    for expected in ("2.00×", "threads: 3", "views/s", "1 MiB", "5 interleaved rounds", "a sentence"):
        assert expected in text.getvalue()


@pytest.mark.parametrize("blur", [False, True])
def test_each_pipeline_makes_two_views_of_every_image(blur):
    assert [augment.kernel_size(size) for size in (32, 224)] == [3, 23]
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), np.uint8)
    sequence = build_augmentation(augment.simclr_views(16, blur))
    for call in (
        augment._ours(images, sequence),
        augment._mmpretrain(images, 16, blur),
        augment._torchvision(images, sequence),
    ):
        views = call()
        assert len(views) == 2 and not torch.equal(*views)
        for view in views:
            assert view.shape == (3, 3, 16, 16) and view.dtype == torch.float32
            assert view.min() >= 0 and 0.5 < view.max() <= 1 + 1e-6


@pytest.mark.parametrize("name", ["nat", "short", "nov", "grey"])
def test_medical_sequences_are_compared_with_torchvision(name):
    (view,) = Config.fromfile(VIEWS / f"medical-{name}.py").views
    assert view.repeats == augment.VIEWS
    sequence = build_augmentation(view.transforms)
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28, 3), np.uint8)
    for views in (augment._ours(images, sequence)(), augment._torchvision(images, sequence)()):
        assert len(views) == 2 and not torch.equal(*views)
        assert all(view.shape == (3, 3, 28, 28) and 0 <= view.min() < view.max() <= 1 for view in views)


def test_torchvision_operations_equal_ours_where_nothing_is_drawn():
    images = np.random.default_rng(1).integers(40, 90, (4, 30, 30, 3), np.uint8)
    for transforms, levels in (
        ([dict(type="RandomEqualize", p=1.0)], 0),
        ([dict(type="RandomSharpness", factor=(3.0, 3.0))], 2),  # Pillow rounds before blending
        ([dict(type="RandomGrayscale", p=1.0)], 1),
        ([dict(type="RandomHorizontalFlip", p=1.0)], 0),
        ([dict(type="ColorJitter", brightness=(1.5, 1.5))], 1),
    ):
        sequence = build_augmentation(transforms)
        ours, theirs = (way(images, sequence)()[0] for way in (augment._ours, augment._torchvision))
        assert (ours - theirs).abs().max() * 255 <= levels + 1e-3, transforms
    with pytest.raises(ValueError, match="a RandomSolarize, which has no torchvision equivalent"):
        augment._torchvision(images, build_augmentation([dict(type="RandomSolarize")]))


@pytest.mark.parametrize("make", [files.ours, files.mmpretrain])
@pytest.mark.parametrize("workers", [0, 1])
def test_every_file_becomes_two_normalised_views(tmp_path, make, workers):
    files.write_photographs(tmp_path / "photographs", 5)
    loading = dict(batch_size=2, num_workers=workers, persistent_workers=workers > 0)
    epoch = make(str(tmp_path), 48, loading)
    batches = [epoch.views(batch)["inputs"] for batch in epoch.loader]
    assert [len(views[0]) for views in batches] == [2, 2, 1]
    for first, second in batches:
        assert first.shape[1:] == second.shape[1:] == (3, 48, 48) and first.dtype == torch.float32
        assert not torch.equal(first, second)
        assert first.mean().abs() < 1.5 and 0.1 < first.std() < 2
    epoch.loader._iterator = None


def test_both_searches_find_the_same_neighbours(monkeypatch):
    found = []
    search = torch.topk

    def spy(similarity, k, dim):
        result = search(similarity, k, dim=dim)
        found.append(result.indices)
        return result

    monkeypatch.setattr(torch, "topk", spy)
    result = knn.measure(queries=600, bank=50, dim=8, k=7, pairs=5)
    assert result.reference == knn.OURS and (result.items, result.unit) == (600, "queries")
    chunks = 2  # of 512 queries
    assert len(found) == 2 * chunks * (1 + 5)
    for bare, ours in zip(found[:chunks], found[chunks : 2 * chunks], strict=True):
        assert torch.equal(bare, ours) and bare.shape[1] == 7


def test_probe_and_bare_loop_take_the_same_steps_on_all_rows(monkeypatch):
    steps = []
    real = torch.optim.SGD.step

    def spy(self, *args):
        (group,) = self.param_groups
        steps.append([group[key] for key in ("lr", "momentum", "weight_decay")])
        return real(self, *args)

    monkeypatch.setattr(torch.optim.SGD, "step", spy)
    assert linear.measure(rows=40, dim=4, epochs=3, batch_size=16, pairs=5).items == 120
    # One warm-up and five timed rounds of both; three batches in each of three epochs.
    assert steps == [[1e-3, 0.9, 1e-6]] * (2 * 6 * 9)


@pytest.mark.parametrize(
    ("arguments", "said", "items"),
    [
        ("augment --batch-size 4 --size 8 --pairs 5", "mmpretrain MultiView", 8),
        ("augment --batch-size 2 --pairs 5 --sequence nov", "batch 2, 28 px, nov", 4),
        ("files --batch-size 2 --steps 1 --size 32 --workers 0", "500 x 375 px", 2),
        ("knn --queries 20 --bank 30 --dim 4 --k 3", "the target is at most 1.2×", 20),
        ("linear --rows 30 --dim 4 --epochs 2", "2 epochs on 30 x 4 features, batch 256", 60),
    ],
)
def test_tool_prints_a_table_and_writes_the_figures(run_tool, arguments, said, items):
    threads = torch.get_num_threads()
    shown, figures = run_tool(*arguments.split(), "--threads", threads)
    assert said in shown and "peak resident memory" in shown and "; Python 3." in shown
    assert (figures["benchmark"], figures["items"]) == (arguments.split()[0], items)
    assert (
        figures["settings"]["pairs"] == 5 and figures["threads"] == figures["settings"]["threads"] == threads
    )
    assert figures["versions"]["torch"] in figures["environment"]
    for name, times in figures["seconds"].items():
        ratios = sorted(a / b for a, b in zip(figures["seconds"][figures["reference"]], times, strict=True))
        assert figures["speedup"][name] == pytest.approx([ratios[2], ratios[0], ratios[4]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("augment --pairs 4", "argument --pairs: must be at least 5, got 4"),
        ("augment --size 0", "argument --size: must be at least 1, got 0"),
        (
            "augment --sequence novel",
            "'novel'; allowed are simclr, simclr-without-blur, nat, short, nov, grey.",
        ),
        ("files --workers -1", "argument --workers: must be at least 0, got -1"),
        ("knn --bank 5 --k 6", "error: --k is 6; allowed are 1 to --bank, 5."),
        ("linear --threads 0", "argument --threads: must be at least 1, got 0"),
        ("step --method jaccard", "--method is 'jaccard'; allowed are jaccard-simclr, jaccard-moco, amix."),
        ("step --method amix --cfg-options a=1", "--cfg-options are for --config"),
        ("step --stem vgg", "--stem is 'vgg'; allowed are imagenet, cifar."),
        ("epoch --variants float8", "--variants has 'float8'; allowed are contiguous, checkpointed, "),
        ("memory --methods simclrr", "--methods has 'simclrr'; allowed are amix"),
        ("peers --methods dino", "--methods has 'dino'; allowed are simclr, barlow-twins, moco, byol"),
        ("peers --batch-size 100", "--batch-size is 100; MMPretrain's MoCo needs a divisor of 4096."),
        (
            "scaling --batch-size 5",
            "--batch-size is 5; it must be even (strong scaling halves it) and at least 4.",
        ),
        ("scaling --timeout 0", "--timeout is 0.0; it must be above 0 s."),
    ],
)
def test_bad_arguments_are_one_sentence(tool_error, arguments, message):
    assert message in tool_error(*arguments.split())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("variant", ["bf16", "resident"])
def test_variants_for_a_gpu_need_one(tool_error, variant):
    expected = f"--variants has {variant!r}, which needs a GPU; there is none."
    assert expected in tool_error("epoch", "--variants", variant)

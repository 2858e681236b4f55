"""The three ways of the peers benchmark do the same work; nothing here looks at a time."""

import copy
import json
import math
import multiprocessing
import sys
from argparse import ArgumentParser
from io import StringIO
from types import SimpleNamespace

import pytest
import torch
from mmengine.registry import DefaultScope
from rich.console import Console
from torch import nn
from torch.utils.data import DataLoader

from ssl_ext.benchmarks import peers, peers_profile
from ssl_ext.benchmarks.peers import METHODS, benchmark_peers
from ssl_ext.benchmarks.peers_profile import PHASES, profile_epoch
from ssl_ext.benchmarks.peers_work import (
    SEQUENCE,
    Way,
    Work,
    peers_config,
    random_images,
    start_all,
    trained_parameters,
)
from ssl_ext.errors import UserError

NAMES = ["ssl_ext", "lightly", "mmpretrain"]
SMALL = dict(batch_size=4, size=8, steps=2)
HEADS = {
    "SimCLR": dict(type="SimCLRHead", temperature=0.5),
    "BarlowTwins": dict(type="BarlowTwinsHead", redundancy_weight=5e-3),
    "MoCo": dict(type="MoCoHead", temperature=0.2),
    "BYOL": dict(type="CosineRegressionHead"),
}


@pytest.fixture
def method_config(tiny_config):
    """Makes the tiny config a run of one of the four methods, with the views of the shipped configs."""

    def make(model_type="SimCLR"):
        config = copy.deepcopy(tiny_config)
        config.views = [
            dict(
                repeats=2,
                transforms=[
                    dict(type="RandomResizedCrop", scale=(0.2, 1.0)),
                    dict(type="RandomHorizontalFlip", p=0.5),
                    dict(type="ColorJitter", brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, p=0.8),
                    dict(type="RandomGrayscale", p=0.2),
                ],
            )
        ]
        config.model.update(type=model_type, head=HEADS[model_type])
        if model_type == "MoCo":
            config.model.update(queue_size=8, momentum=0.9)
            for part in ("backbone", "neck"):
                config.model[part].norm_cfg = dict(type="SplitBN", num_splits=2)
        if model_type == "BYOL":
            neck = config.model.neck
            predictor = dict(neck, in_channels=neck.out_channels, num_layers=2)
            config.model.update(predictor=predictor, momentum=0.9)
        return config

    return make


@pytest.fixture
def with_ways(tmp_path):
    """Starts the three ways and calls a function with them."""
    pytest.importorskip("lightly")

    def start(config, then, workers=0, epochs=3, **settings):
        settings = {**SMALL, "stem": None, **settings}
        config = peers_config(config, **settings)
        images, labels = random_images(settings["batch_size"] * settings["steps"], settings["size"])
        done = []

        def use(ways):
            assert [way.name for way in ways] == NAMES
            then(ways)
            done.append(True)

        with DefaultScope.overwrite_default_scope("ssl_ext"):
            work = Work(config, images, labels, epochs, workers, str(tmp_path))
            start_all(work, peers._starts(), use)
        assert done

    return start


@pytest.mark.parametrize("model_type", HEADS)
def test_each_way_trains_on_views_of_the_same_shape(method_config, with_ways, model_type):
    def then(ways):
        assert len({trained_parameters(way.model) for way in ways}) == 1
        for way in ways:
            views, losses, steps = [], [], []

            def see(module, args, kwargs, output, views=views, losses=losses):
                views.append(kwargs["inputs"] if kwargs else args)
                terms = output if isinstance(output, dict) else dict(loss=output)
                losses.append(sum(float(value.detach()) for name, value in terms.items() if "loss" in name))

            way.model.register_forward_hook(see, with_kwargs=True)
            way.optimizer.register_step_post_hook(lambda *_, steps=steps: steps.append(1))
            before = copy.deepcopy([p for p in way.model.parameters() if p.requires_grad])
            way.epoch()
            assert len(steps) == 2 and len(losses) == 2 and all(map(math.isfinite, losses))
            assert [[view.shape for view in pair] for pair in views] == [[(4, 3, 8, 8)] * 2] * 2
            assert all(view.dtype == torch.float32 for pair in views for view in pair)
            # Normalised with mean and std 0.5, so within ±1 and on both sides of 0.
            joined = torch.stack([view for pair in views for view in pair])
            assert -1.01 < joined.min() < -0.3 and 0.3 < joined.max() < 1.01
            after = [p for p in way.model.parameters() if p.requires_grad]
            changed = [not torch.equal(old, new) for old, new in zip(before, after, strict=True)]
            assert all(changed), f"{way.name}: {changed}"
            optimised = {p for group in way.optimizer.param_groups for p in group["params"]}
            assert set(after) <= optimised
            assert type(way.optimizer) is torch.optim.Adam and way.optimizer.defaults["lr"] == 1e-3

    with_ways(method_config(model_type), then)


def equalise(ours, other):
    """Give another way's network the weights of ours; layers come in the same order."""
    pairs = zip(
        [p for p in ours.parameters() if p.requires_grad],
        [p for p in other.parameters() if p.requires_grad],
        strict=True,
    )
    for source, target in pairs:
        assert source.shape == target.shape
        target.data.copy_(source)


# What a peer's loss is of this project's: factor and offset.
SCALES = {
    "SimCLR": ((1, 0), (1, 0)),
    "BarlowTwins": ((1, 0), (1, 0)),
    "MoCo": ((1, 0), (1, 0)),
    # Two cosines: sum of 2 - 2 cos here, half the sum of -cos in lightly, sum of -2 cos in MMPretrain.
    "BYOL": ((0.25, -1), (1, -4)),
}


@pytest.mark.parametrize("model_type", HEADS)
def test_equal_weights_and_views_give_equal_losses(method_config, with_ways, model_type):
    views = list(torch.randn(2, 8, 3, 8, 8))

    def then(ways):
        ours, lightly, mmpretrain = (way.model for way in ways)
        for model in (lightly, mmpretrain):
            equalise(ours, model)
        if ours.ema_networks():
            ours.sync_ema()
            lightly.backbone_momentum.load_state_dict(lightly.backbone.state_dict())
            lightly.projection_head_momentum.load_state_dict(lightly.projection_head.state_dict())
        if model_type == "MoCo":
            queue = ours.queues[0].features
            lightly.criterion.memory_bank.bank.copy_(queue)
            mmpretrain.queue.copy_(queue.T)
        # Running statistics, which are the same in all, because MMPretrain's SimCLR mixes those of the views;
        # the batch normalisation of its Barlow Twins head is the standardisation of the loss.
        for model in (ours, lightly, mmpretrain):
            model.eval()
        mmpretrain.head.train(model_type == "BarlowTwins")
        losses = (
            sum(value for name, value in ours.loss(views, None).items() if name.startswith("loss")),
            lightly(*views),
            mmpretrain.loss(views, None)["loss"],
        )
        gradients = [
            torch.autograd.grad(loss, [p for p in way.model.parameters() if p.requires_grad])
            for loss, way in zip(losses, ways, strict=True)
        ]
        for loss, gradient, (factor, offset) in zip(
            losses[1:], gradients[1:], SCALES[model_type], strict=True
        ):
            torch.testing.assert_close(loss, factor * losses[0] + offset, rtol=1e-4, atol=1e-5)
            size = max(float(g.abs().max()) for g in gradients[0])
            for theirs, mine in zip(gradient, gradients[0], strict=True):
                torch.testing.assert_close(theirs, factor * mine, rtol=1e-3, atol=1e-4 * size)

    with_ways(method_config(model_type), then)


def test_workers_live_from_epoch_to_epoch(method_config, with_ways):
    def then(ways):
        seen = []
        for _ in range(2):
            for way in ways:
                way.epoch()
            seen.append({child.pid for child in multiprocessing.active_children()})
        assert len(seen[0]) == 3 and seen[0] == seen[1]

    with_ways(method_config(), then, workers=1)
    assert not multiprocessing.active_children()


def test_shipped_configs_give_the_same_network(with_ways):
    counts = []

    def then(ways):
        counts.append(trained_parameters(ways[0].model))

    with_ways(METHODS["byol"], then, stem="imagenet")
    # ResNet-18 without classifier, projector 512-1024-1024-1024 with two batch norms, predictor 1024-1024.
    expected = 11_176_512 + 512 * 1024 + 2 * 1024**2 + 2 * 2 * 1024
    assert counts == [expected + 2 * 1024**2 + 2 * 1024]


def test_shipped_configs_are_accepted():
    types = {method: peers_config(path, stem="cifar", **SMALL).model.type for method, path in METHODS.items()}
    assert types == {"simclr": "SimCLR", "barlow-twins": "BarlowTwins", "moco": "MoCo", "byol": "BYOL"}


def test_networks_of_different_size_are_refused():
    def start(name, width):
        return lambda work, then: then(Way(name, lambda: None, nn.Linear(width, 1), None))

    with pytest.raises(RuntimeError, match="differ in their number of parameters: {'one': 3, 'two': 4}"):
        start_all(None, [start("one", 2), start("two", 3)], lambda ways: pytest.fail("used"))


def test_momentum_copies_are_no_trained_parameters():
    model = nn.Sequential(nn.Linear(2, 1), nn.Linear(2, 1).requires_grad_(False))
    assert trained_parameters(model) == 3


def test_benchmark_takes_the_three_in_turn_and_leaves_everything_as_it_was(
    method_config, monkeypatch, capsys
):
    pytest.importorskip("lightly")
    order, real = [], peers.compare

    def spy(callables, **settings):
        def noted(name, call):
            return lambda: (order.append(name), call())

        return real({name: noted(name, call) for name, call in callables.items()}, **settings)

    monkeypatch.setattr(peers, "compare", spy)
    config = method_config("BYOL")
    before, threads = copy.deepcopy(config.to_dict()), torch.get_num_threads()
    scope = DefaultScope.get_current_instance().scope_name
    result = benchmark_peers(config, pairs=5, threads=1, profile=True, **{**SMALL, "steps": 1})
    assert order == NAMES * 6
    comparison = result.comparison
    assert comparison.reference == "ssl_ext" and (comparison.items, comparison.unit) == (4, "images")
    assert {name: len(times) for name, times in comparison.seconds.items()} == dict.fromkeys(NAMES, 5)
    assert list(result.profile) == NAMES and all(tuple(p) == PHASES for p in result.profile.values())
    assert config.to_dict() == before and torch.get_num_threads() == threads
    assert DefaultScope.get_current_instance().scope_name == scope
    assert not capsys.readouterr().out


def test_profile_gives_every_second_to_its_phase(monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(peers_profile.time, "perf_counter", lambda: clock.now)

    def spend(seconds):
        clock.now += seconds

    class Spend(nn.Module):
        def __init__(self, seconds):
            super().__init__()
            self.weight, self.seconds = nn.Parameter(torch.ones(1)), seconds

        def forward(self, x):
            spend(self.seconds)
            return x * self.weight

    model, preprocessor = Spend(5), Spend(2)
    loader = DataLoader(range(6), batch_size=2, collate_fn=lambda batch: (spend(3), torch.ones(1))[1])

    class SlowSGD(torch.optim.SGD):
        def step(self):
            spend(13)

    optimizer = SlowSGD(model.parameters(), lr=0.1)

    def epoch():
        for batch in loader:
            loss = model(preprocessor(batch))
            loss.register_hook(lambda grad: spend(7))
            loss.backward()
            optimizer.step()
            spend(11)

    assert profile_epoch(Way("fake", epoch, model, optimizer, preprocessor), steps=3) == {
        "data": 3 + 2,
        "forward + loss": 5,
        "backward": 7,
        "optimiser": 13,
        "rest": 11,
    }
    # Nothing stays behind: another epoch is not timed.
    for module in (model, preprocessor):
        assert not module._forward_hooks and not module._forward_pre_hooks
    assert torch.Tensor.backward.__name__ == "backward" and DataLoader.__iter__.__name__ == "__iter__"


def arguments(*given):
    parser = ArgumentParser()
    peers.add_arguments(parser)
    return dict(vars(parser.parse_args(list(map(str, given)))), threads=1)


def test_run_prints_tables_and_sentences_and_returns_the_figures(method_config, tmp_path, monkeypatch):
    pytest.importorskip("lightly")
    for method, model_type in (("simclr", "SimCLR"), ("moco", "MoCo")):
        method_config(model_type).dump(tmp_path / f"{method}.py")
        monkeypatch.setitem(METHODS, method, tmp_path / f"{method}.py")
    small = ("--batch-size", 4, "--size", 8, "--steps", 1, "--stem", "cifar", "--profile")
    console = Console(file=StringIO(), width=160)
    figures = peers.run(console, **arguments("--methods", "simclr", "moco", "simclr", *small))
    shown = console.file.getvalue()
    for expected in (
        "simclr, cifar stem, batch 4, 8 px, workers: 0",
        "5 interleaved rounds, torch threads: 1",
        "peak resident memory",
        "moco: milliseconds per step",
        "forward + loss",
        "lightly 1.",
        "channels_last",
        "Against lightly, an epoch of this project takes ",
        "Against mmpretrain, an epoch of this project takes ",
    ):
        assert expected in shown, expected
    assert shown.count("the time for moco; the target is below 1×.") == 2
    figures = json.loads(json.dumps(figures))
    assert list(figures["methods"]) == ["simclr", "moco"] and "lightly 1." in figures["peers"]
    for record in figures["methods"].values():
        ours, theirs = (record["seconds"][name] for name in ("ssl_ext", "lightly"))
        ratios = sorted(a / b for a, b in zip(ours, theirs, strict=True))
        assert record["speedup"]["lightly"] == pytest.approx([ratios[2], ratios[0], ratios[4]])
        assert set(record["profile"]["mmpretrain"]) == set(PHASES)
        assert record["trained_parameters"] > 1000 and record["peak_resident_bytes"] > 2**20
    median, low, high = figures["methods"]["moco"]["speedup"]["mmpretrain"]
    assert f"{median:.2f}× ({low:.2f} … {high:.2f}) the time for moco" in shown


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("--methods", "dino"), "--methods has 'dino'; allowed are simclr, barlow-twins, moco, byol"),
        (("--stem", "vgg"), "stem is 'vgg'; allowed are imagenet, cifar"),
        (("--pairs", 4), "pairs must be at least 5 and workers at least 0, got 4 and 0"),
        (("--workers", -1), "got 5 and -1"),
        (("--steps", 0), "at least 1, got 256, 32, 0, 1"),
        (
            ("--batch-size", 100),
            "batch_size is 100; MMPretrain's MoCo wants a divisor of 4096",
        ),
    ],
)
def test_bad_arguments_are_one_sentence(given, message):
    pytest.importorskip("lightly")
    console = Console(file=StringIO())
    with pytest.raises(ValueError, match=message):
        peers.run(console, **arguments(*given))
    assert not console.file.getvalue()


def test_a_missing_peer_names_the_extra(monkeypatch, method_config):
    monkeypatch.setitem(sys.modules, "lightly", None)
    with pytest.raises(UserError, match=r"lightly is missing; .* pip install -e \.\[bench\]"):
        benchmark_peers(method_config(), **SMALL)


def test_other_methods_and_views_are_refused(tiny_config, method_config):
    with pytest.raises(
        UserError, match="model.type is 'TriMix'; the peers have SimCLR, BarlowTwins, MoCo, BYOL"
    ):
        peers_config(tiny_config, stem=None, **SMALL)
    config = method_config()
    config.views[0].transforms.pop()
    with pytest.raises(UserError, match=f"two alike of {', '.join(SEQUENCE)}; the first draws"):
        peers_config(config, stem=None, **SMALL)


def test_moco_gets_plain_batch_normalisation(method_config):
    config = peers_config(method_config("MoCo"), stem="imagenet", **SMALL)
    assert (config.model.backbone.norm_cfg, config.model.neck.norm_cfg) == (
        dict(type="BN"),
        dict(type="BN1d"),
    )
    assert config.model.backbone.type == "ResNet" and config.train_dataloader.batch_size == 4

"""The contenders of the peers benchmark do the same work; times are not tested."""

import copy
import math
import multiprocessing
import sys
from types import SimpleNamespace

import pytest
import torch
from benchmarks import compare, peers
from benchmarks.peers import METHODS, SEQUENCE, peers_config
from benchmarks.phases import PHASES, profile_epoch
from benchmarks.workload import Contender, Workload, trained_parameters, with_contenders
from torch import nn
from torch.utils.data import DataLoader

from ssl_ext.errors import UserError

NAMES = ["ssl_ext", "lightly", "mmpretrain"]


@pytest.fixture
def contend():
    """Start the three contenders and call a function with them."""
    pytest.importorskip("lightly")

    def start(config, use, workers=0, stem=None):
        done = []
        work = Workload(peers_config(config, stem, 4), 4, 8, steps=2, epochs=3, workers=workers)
        with_contenders(work, peers.peer_starts(), lambda contenders: done.append(use(contenders)))
        assert done

    return start


@pytest.mark.parametrize("model_type", peers.TYPES)
def test_each_contender_trains_on_views_of_the_same_shape(peer_config, contend, model_type):
    def use(contenders):
        assert [contender.name for contender in contenders] == NAMES
        assert len({trained_parameters(contender.model) for contender in contenders}) == 1
        for contender in contenders:
            views, losses, steps = [], [], []

            def see(module, args, kwargs, output, views=views, losses=losses):
                views.append(kwargs["inputs"] if kwargs else args)
                terms = output if isinstance(output, dict) else dict(loss=output)
                losses.append(sum(float(value.detach()) for name, value in terms.items() if "loss" in name))

            contender.model.register_forward_hook(see, with_kwargs=True)
            contender.optimizer.register_step_post_hook(lambda *_, steps=steps: steps.append(1))
            before = copy.deepcopy([p for p in contender.model.parameters() if p.requires_grad])
            contender.epoch()
            assert len(steps) == 2 and len(losses) == 2 and all(map(math.isfinite, losses))
            assert [[view.shape for view in pair] for pair in views] == [[(4, 3, 8, 8)] * 2] * 2
            assert all(view.dtype == torch.float32 for pair in views for view in pair)
            # Normalised with mean and std 0.5, so within ±1 and of both signs.
            joined = torch.stack([view for pair in views for view in pair])
            assert -1.01 < joined.min() < -0.3 and 0.3 < joined.max() < 1.01
            after = [p for p in contender.model.parameters() if p.requires_grad]
            changed = [not torch.equal(old, new) for old, new in zip(before, after, strict=True)]
            assert all(changed), f"{contender.name}: {changed}"
            assert (
                type(contender.optimizer) is torch.optim.Adam and contender.optimizer.defaults["lr"] == 1e-3
            )

    contend(peer_config(model_type), use)


def test_workers_live_from_epoch_to_epoch(peer_config, contend):
    def use(contenders):
        seen = []
        for _ in range(2):
            for contender in contenders:
                contender.epoch()
            seen.append({child.pid for child in multiprocessing.active_children()})
        assert len(seen[0]) == 3 and seen[0] == seen[1]

    contend(peer_config("SimCLR"), use, workers=1)
    assert not multiprocessing.active_children()


def test_shipped_configs_are_accepted_and_give_the_same_network(contend):
    types = {method: peers_config(path, "cifar", 256).model.type for method, path in METHODS.items()}
    assert types == {"simclr": "SimCLR", "barlow-twins": "BarlowTwins", "moco": "MoCo", "byol": "BYOL"}
    counts = []
    contend(METHODS["byol"], lambda them: counts.append(trained_parameters(them[0].model)), stem="imagenet")
    # ResNet-18 without classifier, projector 512-1024-1024-1024 with two batch norms, predictor 1024-1024.
    expected = 11_176_512 + 512 * 1024 + 2 * 1024**2 + 2 * 2 * 1024
    assert counts == [expected + 2 * 1024**2 + 2 * 1024]


def test_networks_of_different_size_are_refused():
    def start(name, width):
        return lambda work, use: use(Contender(name, lambda: None, nn.Linear(width, 1), None, None))

    with pytest.raises(RuntimeError, match="differ in their number of parameters: {'one': 3, 'two': 4}"):
        with_contenders(None, [start("one", 2), start("two", 3)], lambda them: pytest.fail("used"))


def test_parameters_of_ema_networks_are_not_trained():
    model = nn.Sequential(nn.Linear(2, 1), nn.Linear(2, 1).requires_grad_(False))
    assert trained_parameters(model) == 3


def test_profile_gives_every_second_to_its_phase(monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(compare.time, "perf_counter", lambda: clock.now)

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

    fake = Contender("fake", epoch, model, optimizer, loader, preprocessor)
    assert profile_epoch(fake, steps=3) == pytest.approx(
        {
            "data": 3 + 2,
            "forward + loss": 5,
            "backward": 7,
            "optimiser": 13,
            "rest": 11,
        }
    )
    # The timers are removed: another epoch is not timed.
    for module in (model, preprocessor):
        assert not module._forward_hooks and not module._forward_pre_hooks
    assert torch.Tensor.backward.__name__ == "backward" and DataLoader.__iter__.__name__ == "__iter__"


def test_the_tool_takes_the_three_in_turn(run_tool, peer_config, tmp_path, monkeypatch, capsys):
    pytest.importorskip("lightly")
    order, real = [], compare.compare

    def spy(callables, **settings):
        def noted(name, call):
            return lambda: (order.append(name), call())

        return real({name: noted(name, call) for name, call in callables.items()}, **settings)

    monkeypatch.setattr(compare, "compare", spy)
    for method, model_type in (("simclr", "SimCLR"), ("moco", "MoCo")):
        peer_config(model_type).dump(tmp_path / f"{method}.py")
        monkeypatch.setitem(METHODS, method, tmp_path / f"{method}.py")
    small = ("--batch-size", 4, "--size", 8, "--steps", 1, "--stem", "cifar", "--profile")
    shown, figures = run_tool("peers", "--methods", "simclr", "moco", "simclr", *small)
    assert order == NAMES * 6 * 2
    for expected in (
        "simclr, cifar stem, batch 4, 8 px, workers: 0",
        "moco: milliseconds per step",
        "forward + loss",
        "lightly 1.",
        "channels_last",
        "Against lightly, an epoch of this project takes ",
    ):
        assert expected in shown, expected
    assert "mmengine - INFO" not in shown
    assert shown.count("the time for moco; the target is below 1×.") == 2
    assert list(figures["methods"]) == ["simclr", "moco"]
    for record in figures["methods"].values():
        assert {name: len(times) for name, times in record["seconds"].items()} == dict.fromkeys(NAMES, 5)
        assert set(record["profile"]["mmpretrain"]) == set(PHASES) and record["trained_parameters"] > 1000
    median, low, high = figures["methods"]["moco"]["speedup"]["mmpretrain"]
    assert f"{median:.3f}× ({low:.3f} … {high:.3f}) the time for moco" in shown


def test_a_missing_peer_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightly", None)
    with pytest.raises(UserError, match=r"lightly is missing; .* pip install -e \.\[bench\]"):
        peers.peer_starts()


def test_other_methods_and_views_are_refused(tiny_config, peer_config):
    message = "model.type is 'TriMix'; the peers have SimCLR, BarlowTwins, MoCo, BYOL"
    with pytest.raises(UserError, match=message):
        peers_config(tiny_config, None, 4)
    config = peer_config("SimCLR")
    config.views[0].transforms.pop()
    with pytest.raises(UserError, match=f"two of {', '.join(SEQUENCE)}; the first draws"):
        peers_config(config, None, 4)


def test_moco_gets_plain_batch_normalisation(peer_config):
    model = peers_config(peer_config("MoCo"), "imagenet", 4).model
    assert (model.backbone.norm_cfg, model.neck.norm_cfg) == (dict(type="BN"), dict(type="BN1d"))
    assert model.backbone.type == "ResNet"

"""EMA networks: closed forms, initial weights, and state that must not change."""

import copy
import math

import pytest
import torch
from torch import nn

from ssl_ext.apis import build_model, pretrain
from ssl_ext.capture import accelerator_branches
from ssl_ext.engine import read_checkpoint
from ssl_ext.models.utils import MomentumNetwork, momentum_at


class Neck(nn.Module):
    """Projector that maps a tuple to a tuple, as MMPretrain's do."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 2)

    def forward(self, inputs):
        return (self.fc(inputs[0]),)


def networks():
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    return backbone.double(), Neck().double()


def device_number(value):
    return torch.tensor(value, dtype=torch.float64)


def values(*modules):
    return [p.detach().clone() for module in modules for p in module.parameters()]


def change(*modules):
    with torch.no_grad():
        for module in modules:
            for p in module.parameters():
                p.add_(torch.randn_like(p))


@pytest.mark.parametrize(("schedule", "momentum"), [("constant", 0.9), ("cosine", 0.7)])
def test_after_n_steps_it_is_the_closed_form(schedule, momentum):
    backbone, neck = networks()
    follower = MomentumNetwork(backbone, neck)
    start, history, steps = values(backbone, neck), [], 7
    for step in range(1, steps + 1):
        change(backbone, neck)
        history.append(values(backbone, neck))
        follower.update(backbone, neck, device_number(momentum_at(step, steps, momentum, schedule)))
    if schedule == "constant":
        m = [momentum] * steps
    else:
        m = [1 - (1 - momentum) * (1 + math.cos(math.pi * k / steps)) / 2 for k in range(steps)]
    # Weights of the initial and of every later network in the average.
    shares = [math.prod(m), *[(1 - m[k]) * math.prod(m[k + 1 :]) for k in range(steps)]]
    assert sum(shares) == pytest.approx(1)
    for found, *past in zip(values(follower), start, *history, strict=True):
        expected = sum(share * value for share, value in zip(shares, past, strict=True))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_one_foreach_operation_equals_a_loop():
    backbone, neck = networks()
    follower = MomentumNetwork(backbone, neck)
    change(backbone, neck)
    pairs = zip(values(follower), values(backbone, neck), strict=True)
    expected = [0.996 * own + 0.004 * new for own, new in pairs]
    follower.update(backbone, neck, device_number(0.996))
    for found, value in zip(values(follower), expected, strict=True):
        torch.testing.assert_close(found, value, rtol=0, atol=1e-14)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_update_on_an_accelerator_is_the_same_in_every_bit(layout):
    """Its weights have the layout of each parameter, for one kernel."""
    backbone, neck = networks()
    backbone.float().to(memory_format=layout)
    on_cpu, other = MomentumNetwork(backbone, neck.float()), MomentumNetwork(backbone, neck)
    change(backbone, neck)
    on_cpu.update(backbone, neck, device_number(0.996))
    with accelerator_branches():
        other.update(backbone, neck, device_number(0.996))
    assert all(torch.equal(a, b) for a, b in zip(values(on_cpu), values(other), strict=True))


@pytest.mark.parametrize("momentum", [0.0, 1.0])
def test_limits_take_over_everything_or_nothing(momentum):
    backbone, neck = networks()
    follower = MomentumNetwork(backbone, neck)
    before = values(follower)
    change(backbone, neck)
    follower.update(backbone, neck, device_number(momentum))
    expected = before if momentum else values(backbone, neck)
    assert all(torch.equal(a, b) for a, b in zip(values(follower), expected, strict=True))


def test_cosine_schedule_goes_from_the_momentum_up_to_one():
    found = [momentum_at(step, 1000, 0.99, "cosine") for step in range(1, 1001)]
    assert found[0] == pytest.approx(0.99)
    assert found[500] == pytest.approx(0.995)
    assert 1 - 1e-6 < found[-1] < 1
    assert all(a < b for a, b in zip(found, found[1:], strict=False))
    assert momentum_at(700, 1000, 0.99) == 0.99


def test_normalisation_statistics_come_from_its_own_passes():
    backbone, neck = networks()
    follower = MomentumNetwork(backbone, neck)
    first, second = torch.randn(2, 8, 3, 5, 5, dtype=torch.float64)
    backbone(first)
    online = copy.deepcopy(backbone[1].state_dict())
    follower.update(backbone, neck, device_number(0.0))
    assert follower.backbone[1].num_batches_tracked == 0
    assert torch.equal(follower.backbone[1].running_mean, torch.zeros(4).double())
    follower(second)
    assert follower.backbone[1].num_batches_tracked == 1
    expected = 0.1 * follower.backbone[0](second).mean((0, 2, 3))
    torch.testing.assert_close(follower.backbone[1].running_mean, expected)
    assert all(torch.equal(value, online[name]) for name, value in backbone[1].state_dict().items())


def test_output_is_the_network_s_without_gradient():
    backbone, neck = networks()
    follower = MomentumNetwork(backbone, neck)
    images = torch.randn(8, 3, 5, 5, dtype=torch.float64, requires_grad=True)
    (found,) = follower(images)
    torch.testing.assert_close(found, neck.fc(backbone(images).mean((2, 3))))
    assert not found.requires_grad
    assert not any(p.requires_grad for p in follower.parameters())
    assert all(p.requires_grad for p in [*backbone.parameters(), *neck.parameters()])


def online_and_copies(model):
    online = {
        f"{part}.{k}": v
        for part in ("backbone", "neck")
        for k, v in getattr(model, part).state_dict().items()
    }
    return online, [copy.state_dict() for copy in model.ema_networks()]


@pytest.mark.parametrize(
    ("model_type", "settings", "count"),
    [("BYOL", {}, 1), ("Cross", {}, 1), ("TriBYOL", {}, 1), ("TriBYOL", dict(target_update="alternate"), 2)],
)
def test_copies_start_equal_to_the_initialised_network(prediction_config, model_type, settings, count):
    config = prediction_config(model_type, **settings)
    # Weights that only init_weights() sets, after the copies were made.
    config.model.neck.init_cfg = [dict(type="Constant", layer="Linear", val=0.25)]
    online, copies = online_and_copies(build_model(config))
    assert torch.all(online["neck.fc0.weight"] == 0.25)
    assert len(copies) == count
    for found in copies:
        assert found.keys() == online.keys()
        assert all(torch.equal(found[name], online[name]) for name in online)


def test_copies_start_equal_to_the_weights_that_training_starts_from(prediction_config, tmp_path):
    config = prediction_config("BYOL", momentum=0.9)
    config.custom_hooks = config.custom_hooks[:2]
    config.train_cfg.max_epochs = 1
    pretrain(config, work_dir=tmp_path / "first")
    saved = read_checkpoint(tmp_path / "first" / "epoch_1.pth")["state_dict"]
    assert not torch.equal(saved["target.neck.fc0.weight"], saved["neck.fc0.weight"])
    # Without learning, network and target stay where they start.
    config.optim_wrapper.optimizer = dict(type="SGD", lr=0.0)
    model = pretrain(config, work_dir=tmp_path / "second", init=tmp_path / "first" / "epoch_1.pth", seed=1)
    for own, online in (("target.backbone", "backbone"), ("target.neck", "neck")):
        for name, value in model.get_submodule(own).named_parameters():
            assert torch.equal(value, saved[f"{online}.{name}"]), name


def test_copies_follow_backbone_and_projector_after_a_step(prediction_config):
    model = build_model(prediction_config("BYOL", momentum=0.75, momentum_schedule="constant"))
    before = values(model.backbone, model.neck)
    change(model.backbone, model.neck, model.predictor)
    model.after_step(1, 10)
    for found, old, new in zip(values(model.target), before, values(model.backbone, model.neck), strict=True):
        torch.testing.assert_close(found, 0.75 * old + 0.25 * new)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(momentum=1.5), "model.momentum is 1.5; it must be between 0 and 1"),
        (dict(momentum=-0.1), "model.momentum is -0.1"),
        (
            dict(momentum_schedule="linear"),
            "model.momentum_schedule is 'linear'; allowed are constant, cosine",
        ),
    ],
)
def test_bad_momentum_is_named(prediction_config, options, message):
    with pytest.raises(ValueError, match=message):
        build_model(prediction_config("BYOL", **options))

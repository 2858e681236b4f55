import copy

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmpretrain.engine.optimizers import LARS as PerTensorLARS
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from ssl_ext.engine import LARS

SETTINGS = dict(lr=0.3, momentum=0.9, weight_decay=1e-2, eta=0.02)


def network():
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, 5)
    )
    nn.init.zeros_(layers[3].weight)  # a weight of norm 0
    return layers.double()


def groups(model):
    """One group per parameter, as MMEngine's constructor builds them."""
    return [
        dict(
            params=[p], lars_exclude=p.ndim == 1, weight_decay=0.0 if p.ndim == 1 else 1e-2, lr=0.1 * (1 + i)
        )
        for i, p in enumerate(model.parameters())
    ]


@pytest.mark.parametrize("grouped", [False, True])
def test_all_tensors_move_as_one_by_one(grouped):
    ours, theirs = network(), network()
    unused = nn.Parameter(torch.ones(3, dtype=torch.float64))
    optimizers = [
        kind(groups(model) if grouped else model.parameters(), **SETTINGS)
        for kind, model in ((LARS, ours), (PerTensorLARS, theirs))
    ]
    optimizers[0].add_param_group(dict(params=[unused]))
    for step in range(5):
        images = torch.randn(6, 3, 8, 8, dtype=torch.float64, generator=torch.manual_seed(step))
        for model, optimizer in zip((ours, theirs), optimizers, strict=True):
            optimizer.zero_grad()
            model(images).square().sum().backward() if step else model(images).sum().backward()
            for group in optimizer.param_groups:
                group["lr"] *= 0.9  # a schedule
            optimizer.step()
    for (name, value), expected in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-13, msg=name)
    assert torch.equal(unused, torch.ones(3, dtype=torch.float64))


class Reads(TorchDispatchMode):
    """Count host reads."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("kind", "reads"), [(LARS, 0), (PerTensorLARS, 10)])
def test_the_host_reads_nothing(kind, reads):
    model = network()
    optimizer = kind(model.parameters(), **SETTINGS)
    model(torch.ones(2, 3, 8, 8, dtype=torch.float64)).sum().backward()
    with Reads() as seen:
        optimizer.step()
    assert seen.count == reads


def test_a_config_builds_it_with_its_exclusions_and_a_saved_state_goes_on():
    init_default_scope("ssl_ext")
    config = dict(
        optimizer=dict(type="LARS", **SETTINGS),
        paramwise_cfg=dict(custom_keys={"bias": dict(decay_mult=0, lr_mult=0.5, lars_exclude=True)}),
    )
    model = network()
    optimizer = build_optim_wrapper(model, config).optimizer
    assert type(optimizer) is LARS
    found = {n: g for (n, _), g in zip(model.named_parameters(), optimizer.param_groups, strict=True)}
    assert {name for name, group in found.items() if group["lars_exclude"]} == {"1.bias", "3.bias"}
    assert (found["1.bias"]["lr"], found["1.bias"]["weight_decay"]) == (0.15, 0)

    def train(model, optimizer):
        optimizer.zero_grad()
        model(torch.ones(2, 3, 8, 8, dtype=torch.float64)).square().sum().backward()
        optimizer.step()

    train(model, optimizer)
    other = copy.deepcopy(model)
    again = build_optim_wrapper(other, config).optimizer
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for pair in ((model, optimizer), (other, again)):
        train(*pair)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize(
    "wrong", [dict(lr=0), dict(momentum=1), dict(weight_decay=-1), dict(eta="x"), dict(eps=-1)]
)
def test_numbers_out_of_range(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=rf"optim_wrapper.optimizer.{name}={value!r}: a number "):
        LARS(network().parameters(), **{**SETTINGS, **wrong})

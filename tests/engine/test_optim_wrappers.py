"""Clipping without host reads, gradients at fixed addresses, and weights cast to bfloat16 once per step."""

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from ssl_ext.capture import HostAccess
from ssl_ext.engine import BFloat16OptimWrapper, OptimWrapper
from ssl_ext.mixups import MixBlock
from ssl_ext.models.utils import MomentumNetwork


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5))


def test_the_norm_of_clipped_gradients_stays_on_the_device():
    model = network()
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), 0.1, fused=True), clip_grad=dict(max_norm=0.1))
    model(torch.ones(2, 3, 8, 8)).square().sum().backward()
    norm = torch.cat([p.grad.flatten() for p in model.parameters()]).norm()
    with HostAccess() as access:
        wrapper.step()
    assert access.found == []
    torch.testing.assert_close(wrapper.grad_norm, norm)
    clipped = torch.cat([p.grad.flatten() for p in model.parameters()]).norm()
    torch.testing.assert_close(clipped, torch.tensor(0.1), rtol=1e-4, atol=0)


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam])
def test_a_parameter_leaves_its_bound_as_soon_as_its_gradient_turns(optimizer):
    block = MixBlock(4, gamma_init=0.05)
    settings = dict(momentum=0.9) if optimizer is torch.optim.SGD else {}
    wrapper = OptimWrapper(optimizer([block.gamma], 0.1, **settings))
    for sign, expected in ((1, 0.0), (1, 0.0), (-1, 0.1)):
        block.gamma.grad = torch.tensor(float(sign))
        wrapper.step()
        if optimizer is torch.optim.SGD or sign > 0:
            assert block.gamma.item() == pytest.approx(expected)
        else:
            assert block.gamma > 0


@pytest.mark.parametrize("kept", [False, True])
def test_gradients_are_freed_or_set_to_zero_in_place(kept):
    model = network()
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), 0.1))
    wrapper.keep_gradients = kept
    model(torch.ones(2, 3, 8, 8)).sum().backward()
    places = [p.grad.data_ptr() for p in model.parameters()]
    wrapper.zero_grad()
    found = [p.grad for p in model.parameters()]
    if kept:
        assert [g.data_ptr() for g in found] == places and not any(g.any() for g in found)
    else:
        assert found == [None] * len(found)


class Casts(TorchDispatchMode):
    """Record operations that cast float32 weights to bfloat16."""

    def __init__(self, weights):
        super().__init__()
        self.places, self.seen = {weight.data_ptr() for weight in weights}, []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        made = result if torch.is_tensor(result) else None
        if func is torch.ops.aten._foreach_copy_.default:
            self.seen.append("all")
        elif (
            made is not None
            and "empty" not in str(func)
            and made.dtype == torch.bfloat16
            and made.dtype != args[0].dtype
        ):
            self.seen += [str(func)] * (args[0].data_ptr() in self.places)
        return result


def test_momentum_networks_are_cast_once_a_step():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
            self.neck = nn.Linear(4, 5)
            self.target = MomentumNetwork(self.backbone, Necks(self.neck))

    class Necks(nn.Module):
        def __init__(self, layer):
            super().__init__()
            self.layer = layer

        def forward(self, features):
            return (self.layer(features[0]),)

    torch.manual_seed(0)
    model, images = Model(), torch.randn(6, 3, 8, 8)
    wrapper = BFloat16OptimWrapper(optimizer=torch.optim.SGD(model.parameters(), 0.1))
    weights = dict(model.target.named_parameters())
    with torch.autocast("cpu", torch.bfloat16):
        expected = model.target(images)[0]
    for _ in range(2):
        with Casts(weights.values()) as casts, wrapper.optim_context(model):
            outputs = [model.target(images)[0] for _ in range(3)]
        assert casts.seen == ["all"]
        assert outputs[0].dtype == torch.bfloat16 and all(torch.equal(o, expected) for o in outputs)
        assert all(value is weights[name] for name, value in model.target.named_parameters())
        with torch.no_grad():  # the next step casts the changed weights
            for weight in weights.values():
                weight += 0.5
        with torch.autocast("cpu", torch.bfloat16):
            expected = model.target(images)[0]
    assert not hasattr(wrapper, "loss_scaler")

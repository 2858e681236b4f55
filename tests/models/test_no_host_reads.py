"""A training step reads no tensor on the host and repeats the same operations, so that it can be captured."""

import traceback
from pathlib import Path

import pytest
import torch
from methods import IMAGES, METHODS, tiny_run
from mmengine.registry import init_default_scope
from torch.utils._python_dispatch import TorchDispatchMode

import ssl_ext
from ssl_ext.apis import build_model, load_config
from ssl_ext.capture import HostAccess
from ssl_ext.models.selfsup.base import on_device
from ssl_ext.models.utils import block_mixing

PACKAGE = Path(ssl_ext.__file__).parent
aten = torch.ops.aten
READS = {
    aten._local_scalar_dense.default,
    aten.nonzero.default,
    aten.masked_select.default,
    aten._unique2.default,
    aten.unique_dim.default,
    aten.unique_consecutive.default,
    aten.equal.default,
    aten.repeat_interleave.Tensor,
    aten.bincount.default,
}
INDEXED = {aten.index.Tensor, aten.index_put_.default, aten.index_put.default}


def reader():
    """File and function of this project that caused a read."""
    frames = [f for f in traceback.extract_stack(limit=60) if PACKAGE in Path(f.filename).parents]
    return f"{Path(frames[-1].filename).name} {frames[-1].name}" if frames else "a test"


def numbers_of(arguments):
    """Python numbers in the arguments of an operation."""
    if isinstance(arguments, tuple | list):
        return tuple(found for argument in arguments for found in numbers_of(argument))
    return (repr(arguments),) if isinstance(arguments, int | float) else ()


class Reads(TorchDispatchMode):
    """Record the callers of operations whose result needs values on the host."""

    def __init__(self):
        super().__init__()
        self.seen, self.calls = [], []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        masked = func in INDEXED and any(i is not None and i.dtype == torch.bool for i in args[1])
        if func in READS or masked:
            self.seen.append(reader())
        # A replay repeats Python numbers; random seeds of an operation do not exist.
        self.calls.append((str(func), numbers_of(args), numbers_of(tuple((kwargs or {}).values()))))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("case", METHODS)
def test_a_step_can_be_captured(case, monkeypatch):
    init_default_scope("ssl_ext")
    # Steps with the comparison of the learned mask with MixUp, and steps without it.
    monkeypatch.setattr(block_mixing, "COMPARED_EVERY", 2)
    torch.manual_seed(0)
    config = load_config(tiny_run(case, "unread.npz"))
    model = build_model(config).train()
    model.set_dataset_size(IMAGES)
    # (Adam counts its steps in tensors on the host.)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.01)
    views = [torch.randn(8, 3, 8, 8) for _ in range(model.data_preprocessor.num_views)]
    reads, calls = Reads(), {}
    for step in range(4):
        samples = dict(labels=torch.arange(8) % 3, indices=torch.arange(8) + 8 * step)
        model.before_step(step + 1, step + 1, samples)
        numbers = on_device(model.step_numbers(step + 1, 10), torch.device("cpu"))
        reads.calls = []
        with reads:
            losses = model.loss(views, samples)
            total = sum(value for name, value in losses.items() if name.startswith("loss"))
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
            model.after_update(numbers)
        model.between_steps(step + 1)
        # A first step creates gradients, and steps of one variant are replays of one graph.
        if step and model.capture_obstacle is None:
            assert calls.setdefault(model.variant, reads.calls) == reads.calls
    assert not reads.seen or model.capture_obstacle


@pytest.mark.parametrize(("watch", "found"), [(Reads, "seen"), (HostAccess, "found")])
def test_reads_are_seen(watch, found):
    values = torch.arange(4.0)
    for read in (
        values.sum().item,
        lambda: values[values > 1],
        lambda: values.index_put_((values > 1,), values[:1]),
        lambda: values.nonzero(),
        lambda: int(values[0]),
    ):
        with watch() as reads:
            read()
        assert getattr(reads, found)
    with watch() as reads:
        torch.where(values > 1, values, 0.0).topk(2)
    assert not getattr(reads, found)

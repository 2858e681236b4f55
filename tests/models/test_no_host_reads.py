"""On an accelerator a value that the host reads empties the queue of kernels: a training step reads none."""

import sys
import traceback
from pathlib import Path

import pytest
import torch
from mmengine.registry import init_default_scope
from torch.utils._python_dispatch import TorchDispatchMode

import ssl_ext
from ssl_ext.apis import build_model, load_config

sys.path.append(str(Path(__file__).parents[1] / "engine"))
from tiny_algorithms import ALGORITHMS, IMAGES, tiny_run

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
# Where a read does not wait for an accelerator, or seldom.
ALLOWED = {
    "memory_bank.py check": "looks at indices on the CPU only",
    "cluster_bank.py refresh": "when the centroids are renewed, every `interval` steps",
    "mix_moco.py embed_mixtures": "which layer is drawn on the CPU",
    "mix_moco.py mixed_losses": "which policy is drawn on the CPU",
    "mixup.py loss": "which layer is drawn on the CPU",
    "puzzlemix.py puzzlemix": "graph cuts are solved on the host",
}


def reader():
    """File and function of this project that a read came from."""
    frames = [f for f in traceback.extract_stack(limit=60) if PACKAGE in Path(f.filename).parents]
    return f"{Path(frames[-1].filename).name} {frames[-1].name}" if frames else "a test"


class Reads(TorchDispatchMode):
    """Where operations came from whose result depends on values that the host has to know."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        masked = func in INDEXED and any(i is not None and i.dtype == torch.bool for i in args[1])
        if func in READS or masked:
            self.seen.append(reader())
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("case", ALGORITHMS)
def test_a_step_reads_nothing_back(case):
    init_default_scope("ssl_ext")
    torch.manual_seed(0)
    config = load_config(tiny_run(case, "unread.npz"))
    model = build_model(config).train()
    if hasattr(model, "set_dataset_size"):
        model.set_dataset_size(IMAGES)
    # (Adam counts its steps in tensors on the host.)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.01)
    views = [torch.randn(8, 3, 8, 8) for _ in range(model.data_preprocessor.num_views)]
    reads = Reads()
    for step in range(3):
        samples = dict(labels=torch.arange(8) % 3, indices=torch.arange(8) + 8 * step)
        with reads:
            losses = model.loss(views, samples)
            total = sum(value for name, value in losses.items() if name.startswith("loss"))
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
            if hasattr(model, "after_step"):
                model.after_step(step + 1, 10)
    assert set(reads.seen) <= ALLOWED.keys()


def test_reads_are_seen():
    values = torch.arange(4.0)
    for read in (
        values.sum().item,
        lambda: values[values > 1],
        lambda: values.nonzero(),
        lambda: int(values[0]),
    ):
        with Reads() as reads:
            read()
        assert reads.seen
    with Reads() as reads:
        torch.where(values > 1, values, 0.0).topk(2)
    assert not reads.seen

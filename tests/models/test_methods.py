"""Every method runs a step at its smallest batch, and rejects smaller batches."""

import pytest
import torch
from methods import ELSEWHERE, IMAGES, METHODS, method_of, registered_algorithms, tiny_run, type_of
from mmengine.registry import init_default_scope

from ssl_ext.apis import build_model, load_config


def test_every_registered_algorithm_has_a_row():
    listed = {type_of(case) for case in METHODS}
    missing = registered_algorithms() - listed - ELSEWHERE.keys()
    assert not missing, f"add a row to METHODS in tests/methods.py for {', '.join(sorted(missing))}"
    silent = [name for name in sorted(listed) if method_of(name).sent is None]
    assert not silent, f"give the first row of {silent} in tests/methods.py the collectives that a step sends"
    assert listed | ELSEWHERE.keys() == registered_algorithms() and not listed & ELSEWHERE.keys()


@pytest.mark.parametrize("case", METHODS)
def test_a_step_at_the_smallest_batch(case):
    init_default_scope("ssl_ext")
    torch.manual_seed(0)
    method = METHODS[case]
    model = build_model(load_config(tiny_run(case, "unread.npz"))).train()
    model.set_dataset_size(IMAGES)
    count = method.smallest
    with pytest.raises(ValueError, match=f"train_dataloader.batch_size is {count - 1}.* {count}"):
        model.check_batch_size(count - 1)
    model.check_batch_size(count)
    assert model.num_views in (None, method.views)
    samples = dict(labels=torch.arange(count) % 3, indices=torch.arange(count))
    model.before_step(1, 1, samples)
    losses = model.loss([torch.randn(count, 3, 8, 8) for _ in range(method.views)], samples)
    assert {name.removeprefix("loss_") for name in losses if name.startswith("loss")} == method.terms
    total = sum(value for name, value in losses.items() if name.startswith("loss"))
    total.backward()
    model.after_step(1, 10)
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert torch.isfinite(total) and gradients and all(g.isfinite().all() for g in gradients)

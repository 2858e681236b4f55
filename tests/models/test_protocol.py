"""The model protocol: no attribute lookups by name, exact EMA, and adapted algorithms of MMPretrain."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest
import torch
from mmengine.logging import MessageHub
from mmpretrain.models.selfsup import SimCLR as MMPretrainSimCLR

import ssl_ext
from ssl_ext.models.selfsup.base import ForeignModel, adapted, on_device
from ssl_ext.models.utils import MomentumNetwork, host_random

PACKAGE = Path(ssl_ext.__file__).parent
ADAPTER = "models/selfsup/base.py"
ASKED = re.compile(r"\b(model|template|head|policy|preprocessor|data_preprocessor|algorithm)\b")


def attribute_questions(source):
    """Lines of a source with ``hasattr`` or ``getattr`` on a model or a part of one."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
            asked = ASKED.search(ast.unparse(node.args[0]))
            if node.func.id in ("hasattr", "getattr") and asked:
                yield node.lineno


def test_models_are_asked_through_the_protocol_alone():
    found = {
        f"{path.relative_to(PACKAGE)}:{line}"
        for path in PACKAGE.rglob("*.py")
        if "benchmarks" not in path.parts and str(path.relative_to(PACKAGE)) != ADAPTER
        for line in attribute_questions(path.read_text())
    }
    assert not found
    assert list(attribute_questions("hasattr(runner.model, 'after_step')\ngetattr(row, name)")) == [1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ema_by_a_tensor_equals_ema_by_a_number_bit_for_bit(dtype):
    torch.manual_seed(0)
    network, neck = (torch.nn.Linear(size, 67).to(dtype) for size in (3, 129))
    follower = MomentumNetwork(network, neck)
    for momentum in [0.0, 0.25, 0.996, 0.9991, 1.0, *torch.rand(20, dtype=torch.float64).tolist()]:
        for weight in (*network.parameters(), *neck.parameters()):
            weight.data.normal_()
        expected = [p.clone() for p in follower.parameters()]
        torch._foreach_lerp_(expected, [*network.parameters(), *neck.parameters()], 1 - momentum)
        follower.update(network, neck, on_device(dict(m=momentum), torch.device("cpu"))["m"])
        assert all(torch.equal(a, b) for a, b in zip(follower.parameters(), expected, strict=True))


def test_choices_on_the_host_follow_seed_process_and_batch_alone(monkeypatch):
    hub = MessageHub.get_instance("choices")

    def choices():
        return [host_random(batch).choice("abc") for batch in range(1, 3001)]

    state, first = torch.get_rng_state(), choices()
    assert first == choices() and torch.equal(torch.get_rng_state(), state)
    assert all(abs(count - 1000) < 100 for count in Counter(first).values())
    # Independent of the batch before: pairs are as frequent.
    assert all(abs(count - 333) < 80 for count in Counter(zip(first, first[1:], strict=False)).values())
    monkeypatch.setattr("ssl_ext.models.utils.host_draws.get_rank", lambda: 1)
    other = choices()
    hub.update_info("seed", 1)
    assert len({tuple(first), tuple(other), tuple(choices())}) == 3


def test_an_algorithm_of_mmpretrain_gets_the_defaults():
    class Own(MMPretrainSimCLR):
        def after_step(self, step, max_steps):
            return "own"

    model = Own(dict(type="mmpretrain.ResNet_CIFAR", depth=18))
    names = list(model.state_dict())
    assert adapted(model) is model and isinstance(model, ForeignModel) and isinstance(model, Own)
    assert list(model.state_dict()) == names and type(model).__name__ == "Own"
    assert model.after_step(1, 1) == "own" and model.ema_networks() == []
    assert model.extract_embedding(torch.zeros(2, 3, 8, 8)).shape == (2, 512)
    assert adapted(adapted(model)) is model

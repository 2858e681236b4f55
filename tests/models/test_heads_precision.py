"""Under autocast every loss is computed in float32, for embeddings of any precision."""

import pytest
import torch
from methods import CLASSES, METHODS, ROWS, embeddings

import ssl_ext.models  # noqa: F401
from ssl_ext.losses.cross_entropy import cross_entropy
from ssl_ext.registry import MODELS

HEADS = {
    config["type"]: (config, method.call)
    for method in METHODS.values()
    if method.call
    for config in [method.head or method.model["head"]]
}


def test_every_head_is_called():
    registered = {
        name
        for name, found in MODELS.module_dict.items()
        if name.endswith("Head") and found.__module__.startswith("ssl_ext.models.")
    }
    missing = registered - HEADS.keys()
    assert not missing, (
        f"give a row of METHODS in tests/methods.py a loss call of {', '.join(sorted(missing))}"
    )
    assert HEADS.keys() == registered


@pytest.mark.parametrize("name", sorted(HEADS))
def test_a_head_under_autocast_gives_the_float32_loss(name):
    config, call = HEADS[name]
    torch.manual_seed(0)
    head = MODELS.build(config)
    torch.manual_seed(1)
    expected = call(head, lambda value: value.float())
    torch.manual_seed(1)
    with torch.autocast("cpu", torch.bfloat16):
        found = call(head, lambda value: value)
    losses = [term for term in expected if term.startswith("loss")]
    assert losses
    for term in losses:
        assert found[term].dtype == torch.float32, term
        # bfloat16 has three digits: a computation in it would have a thousand times larger errors.
        torch.testing.assert_close(found[term], expected[term], rtol=2e-6, atol=1e-6, msg=f"{name}: {term}")


def test_cross_entropy_of_classifiers():
    logits, labels = embeddings(CLASSES), torch.randint(CLASSES, (ROWS,))
    with torch.autocast("cpu", torch.bfloat16):
        found = cross_entropy(logits, labels)
    assert found.dtype == torch.float32
    assert torch.equal(found, cross_entropy(logits.float(), labels))

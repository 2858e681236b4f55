"""Compiling the backbone does not change results."""

import copy

import pytest
import torch
from methods import METHODS, tiny_run, write_images

from ssl_ext.apis import build_model, load_config, pretrain
from ssl_ext.augment import ColorJitter
from ssl_ext.capture import accelerator_branches
from ssl_ext.engine.compilation import compile_model

QUICK = {"AMix", "MoCo"}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    path = tmp_path_factory.mktemp("images") / "images.npz"
    write_images(path)
    return path


@pytest.fixture(autouse=True)
def nothing_compiled_before():
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    yield
    torch._dynamo.reset()


def trained(case, images, folder, **options):
    config = tiny_run(case, images)
    config.custom_hooks = [dict(type="RandomStateHook")]
    return pretrain(config, work_dir=folder, options=options).state_dict()


# Traced as for any backend, then run operation by operation, so results are bitwise equal.
@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=() if case in QUICK else pytest.mark.slow) for case in METHODS]
)
def test_every_algorithm_is_traced_and_trains_as_before(case, images, tmp_path, monkeypatch):
    compiled = []
    real = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda m, **kw: (compiled.append(m), real(m, **kw)))
    plain = trained(case, images, tmp_path / "plain")
    assert not compiled
    state = trained(case, images, tmp_path / "compiled", compile=dict(backend="eager", fullgraph=True))
    # No graph breaks; copies of a network may share a graph.
    assert compiled and torch._dynamo.utils.counters["stats"]["unique_graphs"] >= 1
    assert state.keys() == plain.keys()
    for name, value in plain.items():
        assert torch.equal(value, state[name]), name


def test_an_ema_network_of_cast_weights_is_traced_once(images, tmp_path):
    """bfloat16 puts casts in the place of its weights in every step."""
    low = {"optim_wrapper.type": "BFloat16OptimWrapper"}
    plain = trained("MoCo", images, tmp_path / "plain", **low)
    state = trained(
        "MoCo", images, tmp_path / "compiled", compile=dict(backend="eager", fullgraph=True), **low
    )
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 2
    assert all(torch.equal(value, state[name]) for name, value in plain.items())


@pytest.mark.parametrize("backend", ["eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_colour_jitter_is_one_graph(backend, images):
    """As it is on an accelerator, with equal draws."""
    model = build_model(load_config(tiny_run("BarlowTwins", images)))
    (jitter,) = (module for module in model.modules() if isinstance(module, ColorJitter))
    planes = torch.rand(3, 24, 40, 48)
    params = jitter.draw((24, 3, 40, 48), generator=torch.Generator().manual_seed(0))
    with accelerator_branches():
        expected = jitter._transform_planes(planes.clone(), params)
        compile_model(model, backend=backend, fullgraph=True)
        found = jitter._transform_planes(planes.clone(), params)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["AMix", "BarlowTwins", "BYOL"])
def test_generated_kernels_train_as_well(case, images, tmp_path):
    plain = trained(case, images, tmp_path / "plain")
    state = trained(case, images, tmp_path / "compiled", compile=True)
    for name, value in plain.items():
        # For nearly zero gradients Adam amplifies rounding to a fraction of its learning rate, 1e-3.
        torch.testing.assert_close(state[name], value, rtol=1e-2, atol=2e-3, msg=name)


def test_a_compiled_run_resumes_without_and_a_model_can_be_copied(images, tmp_path):
    config = tiny_run("MoCo", images)
    config.compile = dict(backend="eager")
    model = pretrain(config, work_dir=tmp_path)
    copy.deepcopy(model)
    config.pop("compile")
    config.train_cfg.max_epochs = 3
    pretrain(config, work_dir=tmp_path, resume=True)

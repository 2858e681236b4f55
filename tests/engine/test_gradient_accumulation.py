"""Accumulated gradients against those of one large batch, and each algorithm's ``batch_dependence``."""

import copy
import warnings

import pytest
import torch
from killed_runs import output, train
from methods import ELSEWHERE, METHODS, registered_algorithms, tiny_run, write_images
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ssl_ext.apis import build_model, pretrain
from ssl_ext.config.training import check_memory_options
from ssl_ext.errors import UserError
from ssl_ext.models.selfsup.base import UNKNOWN, adapted
from ssl_ext.registry import MODELS

IMAGES = 8
# In this form of ODC images have equal weights.
CASES = {**dict.fromkeys(METHODS, {}), "ODC ": dict(head=dict(power=0))}


@pytest.fixture
def images(tmp_path):
    init_default_scope("ssl_ext")
    write_images(tmp_path / "images.npz")
    return tmp_path / "images.npz"


@pytest.fixture
def plain_config(images):
    """Config of a run without augmentation and with a network that processes images independently."""

    def make(case, *, batch_size, world=1, count=1):
        config = tiny_run(case, images, world=world)
        config.views[0].transforms = []
        groups = dict(type="GN", num_groups=2)
        config.model.backbone.norm_cfg = groups
        for part in ("neck", "predictor"):
            if part in config.model:
                config.model[part].norm_cfg = groups
        config.custom_hooks = [dict(type="RandomStateHook")]
        config.default_hooks.checkpoint = None
        config.train_dataloader.batch_size = batch_size
        # A learning rate per epoch, independent of the number of iterations.
        config.param_scheduler = [dict(type="CosineAnnealingLR", T_max=2, by_epoch=True)]
        optimizer = dict(type="SGD", lr=0.3, momentum=0.9)
        config.optim_wrapper = dict(type="OptimWrapper", optimizer=optimizer, accumulative_counts=count)
        return config

    return make


def model_of(case, images, options):
    """The algorithm in float64, normalised by running statistics, so that only the loss couples images."""
    config = tiny_run(case, images)
    config.merge_from_dict({"model": options})
    config.model.data_preprocessor = dict(type="BaseDataPreprocessor")
    torch.manual_seed(0)
    model = build_model(config)
    model.set_dataset_size(IMAGES)
    model = model.double().train()
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.eval()
    return model, config.views[0].repeats


def gradients(model, views, samples, parts):
    """Gradients of the mean loss over ``parts`` equal parts of a batch, processed in turn."""
    model = copy.deepcopy(model)
    torch.manual_seed(1)
    for rows in torch.arange(IMAGES).chunk(parts):
        part = {name: value[rows] for name, value in samples.items()}
        losses = model.loss([view[rows] for view in views], part)
        (sum(value for name, value in losses.items() if name.startswith("loss")) / parts).backward()
    return [p.grad for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("case", CASES)
def test_an_algorithm_says_truly_whether_its_gradient_depends_on_the_batch(case, images):
    model, count = model_of(case.strip(), images, CASES[case])
    generator = torch.Generator().manual_seed(2)
    views = list(torch.randn(count, IMAGES, 3, 8, 8, generator=generator, dtype=torch.float64))
    samples = dict(labels=torch.arange(IMAGES) % 3, indices=torch.arange(IMAGES))
    parts = min(4, IMAGES // METHODS[case.strip()].smallest)
    whole, accumulated = (gradients(model, views, samples, count) for count in (1, parts))
    assert len(whole) == len(accumulated) and any(gradient.abs().max() > 1e-6 for gradient in whole)
    equal = all(
        torch.allclose(one, other, rtol=1e-9, atol=1e-12)
        for one, other in zip(whole, accumulated, strict=True)
    )
    assert equal == (model.batch_dependence is None)


def test_every_registered_algorithm_says_it():
    for name in registered_algorithms() - {"PlainBackbone"}:
        assert MODELS.get(name).batch_dependence != UNKNOWN, name
    assert ELSEWHERE.keys() == {"FasterRCNN", "PlainBackbone"}  # those not tested above


@pytest.mark.parametrize("case", ["BYOL", "ImageClassifier", "TriBYOL"])
def test_a_run_of_small_batches_ends_where_one_of_large_batches_does(case, plain_config, tmp_path):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*accumulative_counts")
        small = pretrain(plain_config(case, batch_size=4, count=4), work_dir=tmp_path / "small")
    large = pretrain(plain_config(case, batch_size=16), work_dir=tmp_path / "large")
    start = build_model(plain_config(case, batch_size=16))
    for name, value in small.state_dict().items():
        torch.testing.assert_close(value, large.state_dict()[name], rtol=1e-4, atol=1e-5, msg=name)
    assert not torch.equal(start.backbone.conv1.weight, small.backbone.conv1.weight)


def test_two_processes_accumulate_what_one_does(plain_config, tmp_path):
    """Without synchronisation between updates; the third iteration of an epoch starts a group of two."""
    for world in (1, 2):
        config = plain_config("SimSiam", batch_size=16 // world, world=world, count=2)
        folder = tmp_path / str(world)
        assert train(config, folder, world=world) == [0] * world, output(folder)
    one, two, other = (
        torch.load(tmp_path / path)["model"] for path in ("1/rank0.pt", "2/rank0.pt", "2/rank1.pt")
    )
    for name, value in one.items():
        assert torch.equal(two[name], other[name]), name
        torch.testing.assert_close(two[name], value, rtol=1e-4, atol=1e-5, msg=name)


def test_the_last_group_of_a_run_counts_as_many_batches_as_it_has(images, tmp_path, monkeypatch):
    """Six iterations in groups of four: replayed, with the mean over four batches and then over two."""
    config = tiny_run("SimSiam", images)
    optimizer = dict(type="SGD", lr=0.1)
    config.optim_wrapper = dict(type="OptimWrapper", optimizer=optimizer, accumulative_counts=4)
    config.param_scheduler = []
    config.custom_hooks = [dict(type="RandomStateHook")]
    batches, models, original = [], [], MODELS.get("SimSiam").loss

    def record(self, views, data_samples=None):
        models.append(copy.deepcopy(self))
        batches.append([view.clone() for view in views])
        return original(self, views, data_samples)

    monkeypatch.setattr(MODELS.get("SimSiam"), "loss", record)
    trained = pretrain(config, work_dir=tmp_path)
    monkeypatch.undo()
    replayed = models[0]
    assert len(batches) == 6
    for group in (batches[:4], batches[4:]):
        replayed.zero_grad()
        for views in group:
            losses = replayed.loss(views)
            (sum(losses.values()) / len(group)).backward()
        with torch.no_grad():
            for parameter in replayed.parameters():
                parameter -= 0.1 * parameter.grad
    for (name, value), other in zip(
        trained.state_dict().items(), replayed.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(value, other, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("value", [0, -1, 2.5, "4", True])
def test_a_number_that_cannot_be_meant_is_named(value, images, tmp_path):
    config = tiny_run("SimSiam", images)
    config.optim_wrapper.accumulative_counts = value
    with pytest.raises(UserError, match=r"optim_wrapper\.accumulative_counts=.*whole number of at least 1"):
        pretrain(config, work_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_begins_by_saying_what_differs(images, tmp_path):
    config = tiny_run("SimCLR", images)
    config.optim_wrapper.accumulative_counts = 4
    config.train_cfg.max_epochs = 1
    with pytest.warns(UserWarning) as caught:
        pretrain(config, work_dir=tmp_path)
    said = [str(one.message) for one in caught if "accumulative_counts" in str(one.message)]
    assert said == [
        "optim_wrapper.accumulative_counts=4: the update of SimCLR from 4 batches of 16 differs from that of "
        "one batch of 64, because the negatives of a view are the other views of its batch."
    ]


def test_a_model_from_elsewhere_may_couple_its_images():
    config = Config(dict(optim_wrapper=dict(accumulative_counts=2), train_dataloader=dict(batch_size=8)))
    with pytest.warns(UserWarning, match="Linear from 2 batches of 8 may differ .* does not declare"):
        check_memory_options(config, adapted(nn.Linear(1, 1)))

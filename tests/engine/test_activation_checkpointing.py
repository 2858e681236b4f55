"""Activation checkpointing saves memory and changes no result."""

import copy

import pytest
import torch
from killed_runs import output, run_differences, train
from methods import BATCH, METHODS, tiny_run, write_images
from mmengine.registry import init_default_scope
from torch import nn
from torch.utils.checkpoint import checkpoint

from ssl_ext.apis import build_model, pretrain
from ssl_ext.engine import activation_checkpointing
from ssl_ext.engine.activation_checkpointing import recompute_stages
from ssl_ext.errors import UserError

LAST = "iter_6.pth"


@pytest.fixture
def images(tmp_path):
    init_default_scope("ssl_ext")
    write_images(tmp_path / "images.npz")
    return tmp_path / "images.npz"


@pytest.fixture
def counted(monkeypatch):
    """List with an entry per recomputation of a stage."""
    entered = []
    real = activation_checkpointing.buffers_kept

    def spy(module):
        entered.append(module)
        return real(module)

    monkeypatch.setattr(activation_checkpointing, "buffers_kept", spy)
    return entered


def three_steps(model, count):
    """Train on random views; return losses and the final state dict."""
    torch.manual_seed(1)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1, momentum=0.9)
    seen = []
    for step in range(1, 4):
        views = list(torch.randn(count, BATCH, 3, 8, 8))
        samples = dict(labels=torch.arange(BATCH) % 3, indices=torch.arange(BATCH))
        model.before_step(step, step)
        losses = model.loss(views, samples)
        optimizer.zero_grad()
        sum(value for name, value in losses.items() if name.startswith("loss")).backward()
        optimizer.step()
        model.after_step(step, 3)
        seen.append({name: value.detach() for name, value in losses.items()})
    return seen, model.state_dict(), torch.get_rng_state()


def both(model, count):
    """Run the same steps without and with activation checkpointing."""
    other = copy.deepcopy(model)
    recompute_stages(other)
    return three_steps(model, count), three_steps(other, count)


def assert_equal(plain, again):
    for one, other in zip(plain[0], again[0], strict=True):
        assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    assert list(plain[1]) == list(again[1])
    for name, value in plain[1].items():
        assert torch.equal(value, again[1][name]), name
    assert torch.equal(plain[2], again[2])


@pytest.mark.parametrize("case", METHODS)
def test_no_algorithm_changes_in_a_bit(case, images, counted):
    config = tiny_run(case, images)
    config.model.data_preprocessor = dict(type="BaseDataPreprocessor")
    # The recomputation drops the same paths.
    config.model.backbone.drop_path_rate = 0.5
    torch.manual_seed(0)
    model = build_model(config).train()
    model.set_dataset_size(BATCH)
    plain, again = both(model, config.views[0].repeats)
    assert_equal(plain, again)
    assert len(counted) >= 6  # two stages, three steps


def small_transformer():
    return dict(
        type="VisionTransformer",
        arch=dict(embed_dims=16, num_layers=3, num_heads=2, feedforward_channels=16),
        img_size=8,
        patch_size=4,
        drop_rate=0.3,
        drop_path_rate=0.3,
        out_type="cls_token",
    )


def test_a_transformer_draws_the_same_dropout_again(images, counted):
    config = tiny_run("ImageClassifier", images)
    config.model.backbone = small_transformer()
    config.model.head.in_channels = 16
    model = build_model(config).train()
    assert_equal(*both(model, 1))
    assert len(counted) == 9


def test_split_batch_norm_under_autocast(images, counted):
    config = tiny_run("MoCo", images)
    config.model.backbone.norm_cfg = dict(type="SplitBN", num_splits=4)
    model = build_model(config).train()
    with torch.autocast("cpu", torch.bfloat16):
        plain, again = both(model, 2)
    assert_equal(plain, again)
    assert int(again[1]["backbone.layer1.0.bn1.num_batches_tracked"]) == 3


def test_torch_alone_would_count_statistics_twice():
    """Reason for ``buffers_kept``."""
    norm = nn.Sequential(nn.BatchNorm1d(2), nn.ReLU(), nn.Linear(2, 2))
    x = torch.randn(8, 2, requires_grad=True)
    checkpoint(norm, x, use_reentrant=False).sum().backward()
    assert int(norm[0].num_batches_tracked) == 2


def kept_bytes(model, views):
    """Bytes of distinct storages, without parameters, that the graph of the loss holds."""
    own = {tensor.untyped_storage().data_ptr() for tensor in model.parameters()}
    found = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        losses = model.loss(views)
    return sum(found.values()), losses


def test_less_is_kept_for_the_backward_pass(tiny_config):
    tiny_config.model.update(type="SimSiam", head=dict(type="CosineRegressionHead"))
    tiny_config.model.predictor = dict(tiny_config.model.neck, in_channels=16)
    model, views = build_model(tiny_config).train(), list(torch.randn(2, 8, 3, 32, 32))
    plain, _ = kept_bytes(model, views)
    recompute_stages(model)
    again, _ = kept_bytes(model, views)
    # The input of each stage, at most 8 · 32² floats per channel; the stem keeps its activations.
    assert again < 0.35 * plain
    with torch.no_grad():
        assert model.eval().backbone(views[0])[0].shape == (8, 64, 4, 4)


def test_a_run_of_two_processes_is_equal(images, tmp_path):
    """With DDP and ``find_unused_parameters``."""
    config = tiny_run("TriBYOL", images, world=2)
    for switch in (False, True):
        config.activation_checkpointing = config.find_unused_parameters = switch
        assert train(config, tmp_path / str(switch), world=2) == [0, 0], output(tmp_path / str(switch))
    assert run_differences(tmp_path / "False", tmp_path / "True", LAST, world=2) == []


def test_a_killed_run_goes_on_as_one_without_it(images, tmp_path):
    config = tiny_run("AMix", images)
    assert train(config, tmp_path / "plain") == [0], output(tmp_path / "plain")
    config.activation_checkpointing = True
    assert train(config, tmp_path / "again", hooks=[dict(type="KillHook", step=2)]) == [-9]
    assert train(config, tmp_path / "again", resume="auto") == [0], output(tmp_path / "again")
    assert run_differences(tmp_path / "plain", tmp_path / "again", LAST) == []


def test_the_runner_follows_the_switch_and_keeps_it_in_the_config(images, tmp_path, counted):
    config = tiny_run("SimSiam", images)
    config.train_cfg.max_epochs = 1
    for switch in (False, True):
        config.activation_checkpointing = switch
        pretrain(config, work_dir=tmp_path / str(switch))
        assert bool(counted) is switch
        written = next((tmp_path / str(switch)).glob("*.py")).read_text()
        assert f"activation_checkpointing={switch}" in written.replace(" ", "")


def test_what_does_not_go_with_it_is_named(images, tmp_path):
    """A backbone without stages, a value that is not a bool, and compilation."""
    config = tiny_run("ImageClassifier", images)
    config.activation_checkpointing = True
    with pytest.raises(UserError, match="activation_checkpointing and compile cannot be combined"):
        pretrain(config, work_dir=tmp_path / "run", compile=True)
    config.model.backbone = dict(type="AlexNet")
    with pytest.raises(UserError, match="backbone AlexNet has no stages"):
        pretrain(config, work_dir=tmp_path / "run")
    config.activation_checkpointing = "layer1"
    with pytest.raises(UserError, match="activation_checkpointing='layer1'; it must be True or False"):
        pretrain(config, work_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()

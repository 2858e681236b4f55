import pytest
import torch
import torchvision
from mmengine.config import Config

from ssl_ext.apis import build_model, load_config
from ssl_ext.engine import find_state_dict, load_weights, write_checkpoint
from ssl_ext.errors import UserError
from ssl_ext.models.utils import pool_features


@pytest.fixture
def resnet18(tiny_config):
    tiny_config.model.backbone = dict(type="ResNet", depth=18, out_indices=(3,), zero_init_residual=False)
    tiny_config.model.neck.in_channels = 512
    return build_model(tiny_config).eval()


def test_torchvision_weights_give_torchvision_features(resnet18, tmp_path):
    torch.manual_seed(0)
    reference = torchvision.models.resnet18().eval()
    torch.save(reference.state_dict(), tmp_path / "tv.pth")
    report = load_weights(resnet18, tmp_path / "tv.pth")
    assert report.backbone_share == 1
    assert set(report.unexpected) == {"backbone.fc.weight", "backbone.fc.bias"}
    assert all(not name.startswith("backbone.") for name in report.missing)
    images = torch.randn(2, 3, 64, 64)
    reference.fc = torch.nn.Identity()
    with torch.no_grad():
        torch.testing.assert_close(pool_features(resnet18.backbone(images)), reference(images))


def test_own_checkpoint_matches_wholly(tiny_config, tmp_path):
    first, second = build_model(tiny_config), build_model(tiny_config)
    write_checkpoint(dict(meta={}, state_dict=first.state_dict()), tmp_path / "own.pth")
    report = load_weights(second, tmp_path / "own.pth")
    assert not report.missing
    assert not report.unexpected
    for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("number", [torch.nan, torch.inf])
def test_numbers_that_are_not_finite_are_refused_by_name(number, tiny_config, tmp_path):
    model = build_model(tiny_config)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    spoiled = {name: value + 1 for name, value in before.items()}
    spoiled["backbone.conv1.weight"][0, 0, 0, 0] = number
    write_checkpoint(dict(state_dict=spoiled), tmp_path / "a.pth")
    with pytest.raises(UserError, match="NaN or infinite numbers in 1 tensors, backbone.conv1.weight first"):
        load_weights(model, tmp_path / "a.pth")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_too_few_matches_are_refused_and_change_nothing(tiny_config, tmp_path):
    model = build_model(tiny_config)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    some = {n: v + 1 for n, v in before.items() if n.startswith("backbone.layer1")}
    write_checkpoint(dict(state_dict=some), tmp_path / "some.pth")
    with pytest.raises(UserError, match=r"Only \d+ of the \d+ tensors.*--allow-partial"):
        load_weights(model, tmp_path / "some.pth")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    report = load_weights(model, tmp_path / "some.pth", allow_partial=True)
    assert set(report.matched) == set(some)
    assert torch.equal(model.backbone.layer1[0].conv1.weight, some["backbone.layer1.0.conv1.weight"])


def test_another_stem_is_named(tiny_config, tmp_path):
    cifar = build_model(tiny_config)
    tiny_config.model.backbone.type = "ResNet"
    imagenet = build_model(tiny_config)
    state = {n: v for n, v in imagenet.state_dict().items() if "layer4" not in n}
    write_checkpoint(dict(state_dict=state), tmp_path / "imagenet.pth")
    with pytest.raises(UserError, match="stem"):
        load_weights(cifar, tmp_path / "imagenet.pth")


def test_wrapper_prefixes_and_containers():
    tensor = torch.zeros(1)
    assert find_state_dict(dict(state_dict={"module.backbone.w": tensor})) == {"backbone.w": tensor}
    assert find_state_dict(dict(model={"w": tensor})) == {"w": tensor}
    with pytest.raises(UserError, match="list"):
        find_state_dict([tensor])
    with pytest.raises(UserError, match="no tensors"):
        find_state_dict(dict(a=1))


def test_config_with_an_unknown_class_is_one_sentence(tiny_config):
    tiny_config.model.head.type = "TriMixHaed"
    with pytest.raises(UserError, match="TriMixHaed"):
        build_model(tiny_config)


def test_missing_and_broken_config_files(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        load_config(tmp_path / "none.py")
    (tmp_path / "broken.py").write_text("model = dict(")
    with pytest.raises(UserError, match=r"broken\.py"):
        load_config(tmp_path / "broken.py")


def test_load_config_leaves_its_argument_alone():
    config = Config(dict(model=dict(type="A")))
    assert load_config(config, {"model.type": "B"}).model.type == "B"
    assert config.model.type == "A"


@pytest.mark.parametrize("trained", [10, 18, 34])
def test_every_tensor_of_the_backbone_counts(trained, tiny_config, tmp_path):
    """One tensor of another shape, or a network with more layers whose others all fit, is refused."""
    model = build_model(tiny_config)
    state = dict(build_model(tiny_config).state_dict())
    if trained == 10:
        state["backbone.conv1.weight"] = torch.zeros(4, 3, 9, 9)
    elif trained == 34:
        state["backbone.layer1.2.conv1.weight"] = torch.zeros(4, 4, 3, 3)
    state["backbone.fc.weight"] = torch.zeros(3, 32)
    write_checkpoint(dict(state_dict=state), tmp_path / "a.pth")
    if trained == 18:
        assert load_weights(model, tmp_path / "a.pth").whole
        return
    with pytest.raises(UserError, match=r"Only \d+ of the \d+ tensors of the backbone"):
        load_weights(model, tmp_path / "a.pth")
    assert not load_weights(model, tmp_path / "a.pth", allow_partial=True).whole

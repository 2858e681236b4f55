"""Exported backbones, loaded by the target libraries."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import onnx
import onnxruntime
import pytest
import safetensors
import safetensors.torch
import timm
import torch
import torchvision
from mmengine.config import Config

from ssl_ext.apis import build_model, export, load_config
from ssl_ext.cli.export import main as export_tool
from ssl_ext.engine import load_weights, write_checkpoint
from ssl_ext.evaluation import file_hash
from ssl_ext.exporting import FORMATS, random_images
from ssl_ext.models.utils import pool_features

MEAN, STD = [0.49, 0.48, 0.45], [0.25, 0.24, 0.26]
MANIFEST = json.loads((Path(__file__).parent / "detectron2_resnets.json").read_text())
NARROW = dict(stem_channels=8, base_channels=8)


def make_checkpoint(folder, backbone, **model):
    """Write a checkpoint of random weights and statistics with its config; return it and the model."""
    config = Config(
        dict(
            model=dict(type="PlainBackbone", backbone=backbone, **model),
            data_preprocessor=dict(
                mean=MEAN[: backbone.get("in_channels", 3)], std=STD[: backbone.get("in_channels", 3)]
            ),
        )
    )
    torch.manual_seed(0)
    net = build_model(load_config(config)).eval()
    with torch.no_grad():
        for name, value in net.state_dict().items():
            if name.endswith("running_var"):
                value.uniform_(0.5, 1.5)
            elif value.dim() == 1:
                value.normal_(0.5, 0.2)
    path = Path(folder) / "epoch_3.pth"
    path.parent.mkdir(exist_ok=True)
    write_checkpoint(
        dict(meta=dict(cfg=config.pretty_text, epoch=3, iter=30), state_dict=net.state_dict()), path
    )
    return path, net


def resnet(kind, depth=18, **options):
    return dict(type=kind, depth=depth, out_indices=(3,), **options)


@torch.no_grad()
def features(net, images):
    """Features of uint8 images."""
    return pool_features(net.backbone(net.data_preprocessor(dict(inputs=images), False)["inputs"]))


def prepared(images, about):
    """Preprocess uint8 images by the exported metadata."""
    mean, std = (torch.tensor(about[key]).view(1, -1, 1, 1) for key in ("mean", "std"))
    return (images.float() / 255 - mean) / std


def load_as_told(report):
    """Run the printed loading code."""
    names = {}
    exec("\n".join(report.code), names)
    return names["net"].eval()


def check(net, loaded, about, size=32):
    images = random_images(3, 3, size, seed=5)
    wanted = features(net, images)
    with torch.no_grad():
        found = loaded(prepared(images, about))
    assert wanted.std(0).mean() > 1e-3
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5 * max(1, float(wanted.abs().max())))


@torch.no_grad()
def test_a_file_is_loaded_in_evaluation_mode(tmp_path):
    _, net = make_checkpoint(tmp_path, resnet("ResNet_CIFAR", **NARROW))
    images, form = random_images(3, 3, 32), FORMATS["safetensors"]
    wanted = features(net, images)
    net.backbone.train()
    loaded = form.decode(form.encode(net.backbone, {}), net.backbone)
    torch.testing.assert_close(loaded(net.data_preprocessor(dict(inputs=images))["inputs"]), wanted)
    assert net.backbone.training


@pytest.fixture(scope="module")
def resnet18(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("resnet18"), resnet("ResNet"))


@pytest.mark.parametrize("to", ["torchvision", "timm"])
@pytest.mark.parametrize(
    "backbone",
    [
        resnet("ResNet"),
        resnet("ResNet_CIFAR"),
        resnet("ResNet_CIFAR", base_channels=8, norm_cfg=dict(type="SplitBN", num_splits=2)),
        resnet("ResNet_CIFAR", in_channels=1, base_channels=8),
        resnet("ResNet_CIFAR", 50, base_channels=8),
        pytest.param(resnet("ResNet", 50), marks=pytest.mark.slow),
        pytest.param(resnet("ResNet_CIFAR", 50), marks=pytest.mark.slow),
        pytest.param(resnet("ResNeXt", 50), marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_the_printed_lines_load_the_file_strictly(to, backbone, tmp_path):
    path, net = make_checkpoint(tmp_path, backbone)
    report = export(path, to, image_size=32)
    assert report.path == tmp_path / "export" / f"epoch_3_{to}.pth"
    assert report.matched == report.tensors == len(net.backbone.state_dict())
    loaded = load_as_told(report)
    if backbone.get("in_channels", 3) == 3:
        check(net, loaded, report.about)
    assert report.difference <= 1e-5
    assert sorted(path.name for path in (tmp_path / "export").iterdir()) == [report.path.name]


def test_torchvision_file_needs_three_lines_of_torchvision_alone(resnet18, tmp_path):
    path, net = resnet18
    about = export(path, "torchvision", out=tmp_path / "r18.pth").about
    assert len(about["loading"]) == 4
    assert "ssl_ext" not in "".join(about["loading"])
    loaded = torchvision.models.resnet18()
    loaded.fc = torch.nn.Identity()
    loaded.load_state_dict(torch.load(tmp_path / "r18.pth", weights_only=True)["state_dict"])
    check(net, loaded.eval(), about, size=64)


def test_timm_loads_the_file_by_its_own_means(resnet18, tmp_path):
    path, net = resnet18
    about = export(path, "timm", out=tmp_path / "r18.pth").about
    loaded = timm.create_model("resnet18", num_classes=0, checkpoint_path=str(tmp_path / "r18.pth"))
    check(net, loaded.eval(), about, size=64)


@pytest.mark.parametrize("to", ["torchvision", "timm"])
@pytest.mark.parametrize(
    "backbone",
    [
        resnet("ResNet", **NARROW),
        resnet("ResNet", 18, stem_channels=16, base_channels=8),
        resnet("ResNet_CIFAR", 50, **NARROW),
    ],
    ids=str,
)
def test_narrow_stems(to, backbone, tmp_path):
    path, net = make_checkpoint(tmp_path, backbone)
    report = export(path, to)
    check(net, load_as_told(report), report.about, size=64)


LIBRARIES = dict(zip(FORMATS, FORMATS, strict=True), onnx="onnxruntime")
# Each program runs alone: none may use an import of another.
PROGRAMS = """
import runpy, sys
for path in sys.argv[1:]:
    found = runpy.run_path(path)
    assert "model" not in found or found["model"].width in (64, 512)
    (result,) = (found[name] for name in ("features", "state", "net", "cfg") if name in found)
    print(path.rpartition("/")[2], type(result).__name__, getattr(result, "shape", None))
"""


def test_the_printed_lines_run_verbatim_in_a_fresh_process(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    # The networks of the quick start and of own images on a CPU are narrow, with a small stem.
    quick_start, standard = resnet("ResNet_CIFAR", **NARROW), resnet("ResNet")
    cases = [(to, quick_start) for to in FORMATS if to != "detectron2"]
    cases += [("timm", resnet("ResNet_CIFAR")), ("torchvision", standard), ("detectron2", standard)]
    programs = []
    for number, (to, backbone) in enumerate(cases):
        path, _ = make_checkpoint(Path(f"run {number}'s"), backbone)
        capfd.readouterr()
        export_tool([str(path), "--to", to, "--image-size", "32"])
        program = Path(f"{number}_{to}.py")
        program.write_text(capfd.readouterr().out.partition("load it:\n")[2])
        compile(program.read_text(), str(program), "exec")
        if importlib.util.find_spec(LIBRARIES[to]):
            programs.append(str(program))
    assert len(programs) >= len(cases) - 1
    done = subprocess.run(
        [sys.executable, "-c", PROGRAMS, *programs], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    # Loading also logs.
    lines = [line.split(maxsplit=1) for line in done.stdout.splitlines() if line]
    found = [line for line in lines if line[0] in programs]
    kinds = dict(torchvision="ResNet None", timm="ResNet None", safetensors="dict None")
    kinds |= dict(onnx="ndarray (1, 64)", detectron2="CfgNode None")
    assert [kinds[name[2:-3]] for name, _ in found] == [kind for _, kind in found]
    assert [name for name, _ in found] == programs


def expected_tensors(depth, **changed):
    shapes = {**MANIFEST[f"R-{depth}"], **changed}
    norms = ("weight", "bias", "running_mean", "running_var")
    convs = {f"{name}.weight": shape for name, shape in shapes.items()}
    return convs | {f"{name}.norm.{key}": shape[:1] for name, shape in shapes.items() for key in norms}


@pytest.mark.parametrize(
    ("backbone", "changed"),
    [
        (resnet("ResNet"), {}),
        (resnet("ResNet_CIFAR"), {"stem.conv1": [64, 3, 3, 3]}),
        pytest.param(resnet("ResNet", 50), {}, marks=pytest.mark.slow),
        pytest.param(resnet("ResNet", 50, style="caffe"), {}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_detectron2_file_has_the_names_and_shapes_of_its_networks(backbone, changed, tmp_path):
    path, net = make_checkpoint(tmp_path, backbone)
    report = export(path, "detectron2", image_size=32)
    content = torch.load(report.path, weights_only=True)
    assert content["matching_heuristics"] is True
    assert isinstance(content["__author__"], str)
    found = {name: list(value.shape) for name, value in content["model"].items()}
    assert found == expected_tensors(backbone["depth"], **changed)
    settings = content["meta"]["settings"]
    assert settings["MODEL.RESNETS.STRIDE_IN_1X1"] is (backbone.get("style") == "caffe")
    assert settings["MODEL.RESNETS.RES2_OUT_CHANNELS"] == (256 if backbone["depth"] == 50 else 64)
    assert settings["MODEL.PIXEL_MEAN"] == pytest.approx([255 * value for value in MEAN])
    assert settings["MODEL.PIXEL_STD"] == pytest.approx([255 * value for value in STD])
    assert settings["INPUT.FORMAT"] == "RGB"
    assert any("own" in line for line in report.about["loading"]) is bool(changed)
    # Loads back by parameter names.
    again = build_model(load_config(Config.fromstring(_config_text(path), ".py"))).eval()
    assert load_weights(again, report.path).backbone_share == 1
    images = random_images(2, 3, 32)
    torch.testing.assert_close(features(again, images), features(net, images))


def _config_text(path):
    return torch.load(path, weights_only=True)["meta"]["cfg"]


def test_safetensors_carry_what_a_stranger_has_to_know(resnet18, tmp_path):
    path, net = resnet18
    report = export(path, "safetensors", out=tmp_path / "r18.safetensors")
    with safetensors.safe_open(report.path, "pt") as file:
        said = file.metadata()
    assert said["method"] == "PlainBackbone"
    assert said["network"] == "online"
    assert said["channel_order"] == "RGB"
    assert (json.loads(said["mean"]), json.loads(said["std"])) == (MEAN, STD)
    assert json.loads(said["architecture"])["name"] == "resnet18"
    assert json.loads(said["architecture"])["stem"] == "imagenet"
    assert json.loads(said["source"]) == dict(file="epoch_3.pth", sha256=file_hash(path), epoch=3, iter=30)
    state = safetensors.torch.load_file(report.path)
    wanted = net.backbone.state_dict()
    assert state.keys() == wanted.keys()
    assert all(torch.equal(state[name], wanted[name]) for name in wanted)


def run_onnx(path):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(None, {"images": images.numpy()})[0])


@pytest.mark.parametrize(
    "backbone",
    [
        resnet("ResNet", **NARROW),
        pytest.param(resnet("ResNet_CIFAR"), marks=pytest.mark.slow),
        pytest.param(resnet("ResNet", 50), marks=pytest.mark.slow),
        pytest.param(resnet("ResNet_CIFAR", 50), marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_onnx_gives_the_features_for_any_number_and_size_of_images(backbone, tmp_path):
    path, net = make_checkpoint(tmp_path, backbone)
    report = export(path, "onnx", image_size=32)
    network = run_onnx(report.path)
    for count, size in ((3, 32), (1, 32), (5, 56)):
        images = random_images(count, 3, size, seed=count)
        wanted = features(net, images)
        found = network(prepared(images, report.about))
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5 * max(1, float(wanted.abs().max())))
    said = {item.key: item.value for item in onnx.load(report.path).metadata_props}
    assert (json.loads(said["mean"]), json.loads(said["std"]), said["channel_order"]) == (MEAN, STD, "RGB")
    assert "divided by std" in said["input"]
    data = report.path.read_bytes()
    assert b"site-packages" not in data
    assert str(Path(__file__).parent.parent.parent).encode() not in data


def test_other_networks_leave_as_onnx_and_safetensors(tmp_path):
    arch = dict(embed_dims=16, num_layers=1, num_heads=2, feedforward_channels=32)
    path, net = make_checkpoint(
        tmp_path, dict(type="VisionTransformer", arch=arch, img_size=32, patch_size=8)
    )
    report = export(path, "onnx", image_size=32)
    assert "(N, 3, 32, 32)" in report.about["input"]
    check(net, run_onnx(report.path), report.about)
    report = export(path, "safetensors", image_size=32)
    assert report.about["architecture"] == {"name": "VisionTransformer"}


@pytest.fixture
def moco(tiny_config, tmp_path):
    tiny_config.model.backbone.stem_channels = 8
    tiny_config.model.update(type="MoCo", queue_size=16, head=dict(type="MoCoHead", temperature=0.2))
    model = build_model(tiny_config).eval()
    for value in model.key_network.backbone.parameters():
        value.data.mul_(1.1)
    meta = dict(cfg=tiny_config.pretty_text)
    write_checkpoint(dict(meta=meta, state_dict=model.state_dict()), tmp_path / "moco.pth")
    return tmp_path / "moco.pth", model


def test_either_network_of_a_momentum_method(moco, tmp_path):
    path, model = moco
    images = random_images(3, 3, 32, seed=5)
    clean = model.data_preprocessor(dict(inputs=images), False)["inputs"]
    for network, backbone in (("online", model.backbone), ("momentum", model.key_network.backbone)):
        report = export(path, "torchvision", network=network, out=tmp_path / f"{network}.pth")
        assert report.about["network"] == network
        assert report.matched == report.tensors
        with torch.no_grad():
            torch.testing.assert_close(
                load_as_told(report)(prepared(images, report.about)), pool_features(backbone(clean))
            )
    default = export(path, "torchvision", out=tmp_path / "default.pth")
    assert default.about["network"] == "online"


def test_a_model_may_name_the_network_that_counts(moco, tmp_path, monkeypatch):
    path, model = moco
    monkeypatch.setattr(type(model), "exported_network", "momentum", raising=False)
    assert export(path, "safetensors", out=tmp_path / "a.safetensors").about["network"] == "momentum"


def test_a_classifier_with_a_copy_for_use_exports_either_and_the_copy_by_default(tiny_config, tmp_path):
    backbone = dict(tiny_config.model.backbone, out_indices=(2, 3))
    head = dict(type="LinearClsHead", num_classes=10, in_channels=64)
    tiny_config.model = dict(type="AMix", backbone=backbone, head=head, mix_block=dict(in_channels=32))
    model = build_model(tiny_config).eval()
    for value in model.deployed.backbone.parameters():
        value.data.mul_(1.1)
    meta = dict(cfg=tiny_config.pretty_text)
    write_checkpoint(dict(meta=meta, state_dict=model.state_dict()), tmp_path / "amix.pth")
    for network, part in ((None, model.deployed.backbone), ("online", model.backbone)):
        report = export(
            tmp_path / "amix.pth", "safetensors", network=network, out=tmp_path / f"{network}.safetensors"
        )
        assert report.about["network"] == (network or "momentum")
        assert report.matched == report.tensors
        state = safetensors.torch.load_file(report.path)
        assert all(torch.equal(value, state[name]) for name, value in part.state_dict().items())

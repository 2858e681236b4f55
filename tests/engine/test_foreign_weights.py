"""Checkpoints in the layouts of other libraries, created by the tests."""

import json
import pickle
from collections import OrderedDict

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ssl_ext.apis import torchvision_resnet
from ssl_ext.config.networks import build_model
from ssl_ext.engine import find_state_dict, load_weights
from ssl_ext.engine.weights.files import read_weights, weights_hash
from ssl_ext.engine.weights.layouts import from_detectron2, own_names, to_detectron2
from ssl_ext.errors import UserError
from ssl_ext.models.utils import pool_features

WIDTH = 8


def randomize(net, seed):
    """Randomise weights and statistics, so that exchanged layers are noticed."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in net.state_dict().items():
        if name.endswith("running_var"):
            value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
        elif value.dim() == 1:
            value.copy_(1 + 0.2 * torch.randn(value.shape, generator=generator))
        elif value.dim() > 1:
            scale = (2 / value[0].numel()) ** 0.5
            value.copy_(scale * torch.randn(value.shape, generator=generator))
    return net.eval()


@pytest.fixture(scope="module")
def reference():
    return randomize(torchvision_resnet(18, stem_channels=WIDTH, base_channels=WIDTH), seed=1)


@pytest.fixture(scope="module")
def other():
    return randomize(torchvision_resnet(18, stem_channels=WIDTH, base_channels=WIDTH), seed=2).state_dict()


@pytest.fixture
def model(tiny_config):
    tiny_config.model.backbone.type = "ResNet"
    return build_model(tiny_config).eval()


def under(prefix, state):
    return {prefix + name: value for name, value in state.items()}


def numbered(state, stages=4):
    """Rename as nn.Sequential(conv1, bn1, ..., layer1, ...): stage i has the index stages + i - 1."""
    children = {"conv1": "0", "bn1": "1"} | {f"layer{i}": str(stages + i - 1) for i in range(1, 5)}
    parts = (name.partition(".") for name in state)
    return {f"{children[p[0]]}.{p[2]}": value for p, value in zip(parts, state.values(), strict=True)}


def shortcuts(state):
    return {name.replace("downsample", "shortcut"): value for name, value in state.items()}


def detectron2(state):
    return {to_detectron2(n): v for n, v in state.items() if not n.endswith("num_batches_tracked")}


def in_c4(state):
    return {n.replace("backbone.res5", "roi_heads.res5"): v for n, v in under("backbone.", state).items()}


HEAD = {"weight": torch.ones(3, WIDTH * 8)}
FOREIGN = {
    "moco-v2": lambda s, o: dict(
        epoch=200,
        arch="resnet50",
        state_dict=under(
            "module.",
            {**under("encoder_q.", s), **under("encoder_q.fc.0.", HEAD), **under("encoder_k.", o)}
            | {"queue": torch.zeros(3, 4), "queue_ptr": torch.zeros(1)},
        ),
        optimizer=dict(state={}, param_groups=[]),
    ),
    "moco-v3": lambda s, o: dict(
        state_dict=under("module.", under("base_encoder.", s) | under("momentum_encoder.", o))
    ),
    "moco-mmselfsup": lambda s, o: dict(
        state_dict=under("encoder_q.0.", s) | under("encoder_q.1.mlp.", HEAD) | under("encoder_k.0.", o)
    ),
    "barlow-twins": lambda s, o: dict(
        model=under(
            "module.",
            under("backbone.", s) | under("projector.0.", HEAD) | {"bn.running_mean": o["bn1.bias"]},
        )
    ),
    "vicreg-backbone": lambda s, o: s,
    "vicreg-head": lambda s, o: dict(
        model=under("module.", under("backbone.", s) | under("projector.0.", HEAD))
    ),
    "swav": lambda s, o: under("module.", s | under("projection_head.0.", HEAD) | under("prototypes.", HEAD)),
    "dino": lambda s, o: dict(
        student=under("module.backbone.", o), teacher=under("backbone.", s) | under("head.mlp.0.", HEAD)
    ),
    "simclr-backbone": lambda s, o: dict(state_dict=under("backbone.", s) | under("backbone.fc.0.", HEAD)),
    "simclr-encoder": lambda s, o: under("module.", under("encoder.", s) | under("projector.0.", HEAD)),
    "byol-pytorch": lambda s, o: under("online_encoder.net.", s) | under("target_encoder.net.", o),
    "byol-numbered": lambda s, o: dict(
        online_network_state_dict=under("encoder.", numbered(s)) | under("projetion.net.0.", HEAD),
        target_network_state_dict=under("encoder.", numbered(o)),
    ),
    "lightly": lambda s, o: dict(
        state_dict=under("backbone.", numbered(s)) | under("backbone_momentum.", numbered(o))
    ),
    "lightly-small-images": lambda s, o: dict(
        state_dict=under("backbone.", numbered(shortcuts(s), stages=2))
    ),
    "solo-learn": lambda s, o: dict(
        state_dict=under("backbone.", s) | under("momentum_backbone.", o) | under("classifier.", HEAD)
    ),
    "vissl": lambda s, o: dict(
        classy_state_dict=dict(base_model=dict(model=dict(trunk=under("_feature_blocks.", s), heads={})))
    ),
    "timm": lambda s, o: s | under("fc.", HEAD),
    "timm-ema-alone": lambda s, o: dict(state_dict_ema=under("module.", s)),
    "averaged-model": lambda s, o: under("module.", s) | {"n_averaged": torch.tensor(3)},
    "lightly-parallel": lambda s, o: dict(state_dict=under("backbone.module.", numbered(s))),
    "lightly-dino": lambda s, o: under("student_backbone.", s) | under("teacher_backbone.", o),
    "lightning-compiled": lambda s, o: dict(
        state_dict=under("model._orig_mod.", s) | under("projector.", HEAD)
    ),
    "lightning-moco": lambda s, o: dict(
        state_dict=under("model.encoder_q.", s) | under("model.encoder_k.", o) | under("model.fc.", HEAD)
    ),
    "parallel-encoder": lambda s, o: under("encoder.module.", s) | under("projector.module.0.", HEAD),
    "compiled": lambda s, o: under("_orig_mod.module.", s),
    "detectron2": lambda s, o: dict(model=detectron2(s), __author__="MOCO", matching_heuristics=True),
    "detectron2-fpn": lambda s, o: dict(
        model=under("backbone.bottom_up.", detectron2(s)) | under("backbone.fpn_lateral2.", HEAD)
    ),
    "detectron2-c4": lambda s, o: dict(model=in_c4(detectron2(s)) | under("roi_heads.box_predictor.", HEAD)),
}


@pytest.mark.parametrize("release", FOREIGN)
def test_checkpoints_of_other_programs_give_their_features(release, model, reference, other, tmp_path):
    torch.save(FOREIGN[release](reference.state_dict(), other), tmp_path / "foreign.pth")
    report = load_weights(model, tmp_path / "foreign.pth")
    assert report.backbone_share == 1
    assert not report.mismatched
    assert all(name.startswith("backbone.") for name in report.matched)
    counters = {f"backbone.{n}" for n in reference.state_dict() if n.endswith("num_batches_tracked")}
    absent = {name for name in report.missing if name.startswith("backbone.")}
    assert absent == (counters if "detectron2" in release else set())
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(pool_features(model.backbone(images)), reference(images))


def test_the_layout_and_what_was_not_used_are_reported(model, reference, other, tmp_path):
    torch.save(FOREIGN["moco-v2"](reference.state_dict(), other), tmp_path / "moco.pth")
    report = load_weights(model, tmp_path / "moco.pth")
    assert "encoder_q.*" in report.layout
    assert report.layout in str(report)
    assert {"backbone.fc.0.weight", "queue", "encoder_k.conv1.weight"} <= set(report.unexpected)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / "own.pth")
    assert load_weights(model, tmp_path / "own.pth").layout == ""


def test_a_part_of_a_foreign_backbone_is_refused(model, reference, tmp_path):
    some = {n: v for n, v in reference.state_dict().items() if not n.startswith("layer4")}
    torch.save(under("module.encoder_q.", some), tmp_path / "part.pth")
    before = model.backbone.conv1.weight.clone()
    with pytest.raises(UserError, match=r"Only \d+ of the \d+ .*encoder_q"):
        load_weights(model, tmp_path / "part.pth")
    assert torch.equal(model.backbone.conv1.weight, before)


def test_wrappers_come_off_in_any_order():
    tensor = torch.zeros(1)
    assert find_state_dict({"_orig_mod.module.w": tensor}) == {"w": tensor}
    assert find_state_dict({"module._orig_mod.w": tensor}) == {"w": tensor}
    assert find_state_dict({"module.a": tensor, "b": tensor}) == {"a": tensor, "b": tensor}
    nested = {"module.encoder.module.w": tensor, "head._orig_mod.w": tensor, "my_module.w": tensor}
    assert find_state_dict(nested) == {"encoder.w": tensor, "head.w": tensor, "my_module.w": tensor}
    # Two networks, one of them wrapped.
    assert find_state_dict({"module.a": tensor, "a": tensor}) == {"module.a": tensor, "a": tensor}


def test_a_model_whose_own_names_hold_those_parts(model, tmp_path):
    model.copy = torch.optim.swa_utils.AveragedModel(model.neck)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / "own.pth")
    report = load_weights(model, tmp_path / "own.pth")
    assert not report.missing and not report.unexpected
    assert any(".module." in name for name in report.matched)


def test_averaged_weights_on_request(model, reference, other, tmp_path, monkeypatch):
    lines = []
    monkeypatch.setattr("ssl_ext.engine.weights.load.print_log", lambda line, **_: lines.append(line))
    for name, key in (("state_dict", "state_dict_ema"), ("model", "model_ema")):
        torch.save({name: other, key: under("module.", reference.state_dict())}, tmp_path / "timm.pth")
        load_weights(model, tmp_path / "timm.pth", ema=True)
        assert torch.equal(model.backbone.conv1.weight, reference.conv1.weight)
        load_weights(model, tmp_path / "timm.pth")
        assert torch.equal(model.backbone.conv1.weight, other["conv1.weight"])
        assert any(f"averaged weights ('{key}'); --ema loads them" in line for line in lines)
    torch.save(dict(state_dict=other), tmp_path / "plain.pth")
    with pytest.raises(UserError, match="no averaged weights under state_dict_ema or model_ema"):
        load_weights(model, tmp_path / "plain.pth", ema=True)


def test_own_names_of_networks_without_a_known_stem_stay():
    tensor = torch.zeros(1)
    assert own_names({"backbone.patch_embed.w": tensor}) == ({"backbone.patch_embed.w": tensor}, "")
    assert own_names({"patch_embed.w": tensor}) == ({"backbone.patch_embed.w": tensor}, "")


def test_detectron2_names_go_both_ways():
    for depth in (18, 50):
        names = torchvision_resnet(depth).state_dict()
        there = {name: to_detectron2(name) for name in names}
        assert len(set(there.values())) == len(names)
        assert all(from_detectron2(new) == name for name, new in there.items())


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_pickle_of_arrays_as_detectron2_keeps_it(protocol, model, reference, tmp_path):
    arrays = OrderedDict((n, v.numpy()) for n, v in detectron2(reference.state_dict()).items())
    content = dict(model=arrays, __author__="MOCO", matching_heuristics=True, score=np.float32(1))
    (tmp_path / "d2.pkl").write_bytes(pickle.dumps(content, protocol=protocol))
    assert load_weights(model, tmp_path / "d2.pkl").backbone_share == 1
    assert torch.equal(model.backbone.layer2[0].conv1.weight, reference.layer2[0].conv1.weight)


def test_safetensors_are_read(model, reference, tmp_path):
    save_file(reference.state_dict(), tmp_path / "model.safetensors")
    assert load_weights(model, tmp_path / "model.safetensors").backbone_share == 1
    assert torch.equal(model.backbone.bn1.running_var, reference.bn1.running_var)


@pytest.fixture
def shards(reference, tmp_path):
    """A folder with the weights in two files and their index."""
    state, where = reference.state_dict(), {}
    for number in (1, 2):
        file = f"model-{number:05}-of-00002.safetensors"
        part = dict(list(state.items())[number - 1 :: 2])
        save_file(part, tmp_path / file)
        where |= dict.fromkeys(part, file)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps(dict(metadata=dict(total_size=1), weight_map=where)))
    return index


def test_shards_by_index_and_by_folder(shards, model, reference):
    for path in (shards, shards.parent):
        model.backbone.conv1.weight.data.zero_()
        assert load_weights(model, path).backbone_share == 1
        assert torch.equal(model.backbone.conv1.weight, reference.conv1.weight)
    assert weights_hash(shards) == weights_hash(shards.parent)
    part = shards.with_name("model-00001-of-00002.safetensors")
    save_file({"conv1.weight": torch.ones(1)}, part)
    changed = weights_hash(shards)
    part.unlink()
    save_file({"conv1.weight": torch.ones(2)}, part)
    assert weights_hash(shards) != changed


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (dict(weight_map={"a": "none.safetensors"}), "none.safetensors' does not exist"),
        (dict(weight_map={"a": "../a.safetensors"}), "does not list files in its folder"),
        (dict(weight_map={"a": "/etc/passwd"}), "does not list files in its folder"),
        (dict(weight_map={"a": "."}), "does not list files in its folder"),
        (dict(weight_map={"a": 3}), "weight_map.a: a text is needed"),
        (dict(metadata={}), "does not list files in its folder"),
        ([], "not an index of weight files"),
    ],
)
def test_an_index_that_is_wrong(shards, content, words):
    shards.write_text(json.dumps(content))
    with pytest.raises(UserError, match=words):
        read_weights(shards)


def test_folders_without_one_set_of_weights(shards, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "run").mkdir()
    for content, words in (("{}", "regularly"), ('{"checkpoints": "every 10 epochs"}', "every 10 epochs")):
        (tmp_path / "run/run.json").write_text(content)
        with pytest.raises(UserError, match=f"run' has not saved a checkpoint yet; it saves one {words} and"):
            read_weights(tmp_path / "run")
    with pytest.raises(UserError, match="folder without weight files"):
        read_weights(tmp_path / "empty")
    shards.unlink()
    with pytest.raises(UserError, match="has several weight files: give one of model-00001-of"):
        read_weights(tmp_path)
    same = dict.fromkeys("ab", "model-00001-of-00002.safetensors") | {"c": "copy.safetensors"}
    (tmp_path / "copy.safetensors").write_bytes((tmp_path / same["a"]).read_bytes())
    shards.write_text(json.dumps(dict(weight_map=same)))
    with pytest.raises(UserError, match="does not fit the other weight files"):
        read_weights(shards)


class Touches:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("suffix", [".pth", ".pkl"])
def test_code_in_a_file_is_refused_and_not_run(suffix, model, tmp_path):
    path, trace = tmp_path / f"evil{suffix}", tmp_path / "trace"
    content = {"module.encoder_q.conv1.weight": Touches(trace)}
    if suffix == ".pkl":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path)
    with pytest.raises(UserError, match=r"rejected.*open"):
        load_weights(model, path)
    assert not trace.exists()


@pytest.mark.parametrize("suffix", [".pkl", ".safetensors"])
def test_damaged_and_missing_files_are_one_sentence(suffix, model, tmp_path):
    path = tmp_path / f"model{suffix}"
    with pytest.raises(UserError, match="does not exist"):
        load_weights(model, path)
    path.write_bytes(b"no weights at all")
    with pytest.raises(UserError, match=r"model\."):
        load_weights(model, path)


@pytest.mark.parametrize("prefix", ["student_backbone.", "model.", "model.backbone.", "model.encoder."])
def test_backbones_in_a_module_of_lightning_or_lightly(prefix):
    state, layout = own_names({f"{prefix}conv1.weight": torch.zeros(1), "head.w": torch.ones(1)})
    assert set(state) == {"backbone.conv1.weight", "head.w"} and prefix in layout

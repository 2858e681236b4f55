"""A transformer, a ConvNeXt and a network of timm by one override: training, evaluation and export."""

import pytest
import torch
from mmengine.config import Config

from ssl_ext.apis import build_model, evaluate, export, load_config, pretrain
from ssl_ext.config.networks import feature_size
from ssl_ext.errors import UserError

VIT = dict(embed_dims=8, num_layers=1, num_heads=2, feedforward_channels=8)
BACKBONES = {
    "vit": (dict(type="VisionTransformer", arch=VIT, img_size=8, patch_size=4), 8),
    "convnext": (
        dict(
            type="ConvNeXt", arch=dict(depths=[1, 1], channels=[4, 12]), stem_patch_size=2, out_indices=(1,)
        ),
        12,
    ),
    "timm": (dict(type="TIMMBackbone", model_name="test_resnet"), 96),
    "timm-vit": (dict(type="TIMMBackbone", model_name="test_vit", img_size=8, patch_size=4), 64),
}


@pytest.mark.parametrize("name", BACKBONES)
def test_one_override_trains_evaluates_and_exports(name, tiny_config, tmp_path):
    backbone, size = BACKBONES[name]
    run = tmp_path / "run"
    options = {"model.backbone": dict(backbone, _delete_=True), "train_cfg.max_epochs": 1}
    model = pretrain(tiny_config, work_dir=run, options=options)
    assert model.neck.fc0.in_features == size
    checkpoint = run / "epoch_1.pth"
    places = dict(out_dir=tmp_path / "out", device="cpu", options=options)
    (row,) = evaluate(tiny_config, checkpoint, protocols=["knn"], **places)
    assert 0 < row.last["acc"] <= 100
    # timm's loader of networks reads files too: it is refused unless the config was named.
    named = load_config(tiny_config, options) if "timm" in name else None
    report = export(checkpoint, "safetensors", config=named)
    assert report.difference < 1e-5


def test_size_of_features_is_measured_once_and_leaves_the_random_numbers():
    state = torch.random.get_rng_state()
    backbone = dict(type="ResNet", depth=18, stem_channels=4, base_channels=4)
    assert feature_size(backbone) == feature_size(backbone) == 32
    assert torch.equal(torch.random.get_rng_state(), state)


def test_channels_last_feature_maps_are_refused(tiny_config):
    swin = dict(
        type="TIMMBackbone",
        model_name="swin_tiny_patch4_window7_224",
        img_size=32,
        window_size=2,
        depths=(1, 1, 1, 1),
    )
    tiny_config.model.backbone = Config(swin)._cfg_dict
    with pytest.raises(UserError, match="channels last"):
        build_model(tiny_config)

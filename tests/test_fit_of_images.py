"""Data sets are checked before any work, and sentences name the key that does not fit the images."""

import copy
import warnings

import numpy as np
import pytest
import torch
from mmengine.config import Config

from ssl_ext.apis import evaluate, load_config, pretrain
from ssl_ext.config.data import build_dataset, build_evaluation_splits, monitored_splits
from ssl_ext.config.images import check_split_norms, warn_of_misfits
from ssl_ext.config.networks import build_model
from ssl_ext.datasets import ArrayDataset
from ssl_ext.datasets.contents import channel_statistics
from ssl_ext.errors import UserError
from ssl_ext.mixups import MixBlock


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            dict(type="FolderDataset", data_root="x"),
            "data: FolderDataset needs image_size: set data.image_size",
        ),
        (dict(type="ImageFiles"), "data: ImageFiles needs image_size: set data.image_size"),
        (dict(type="NPZDataset", data_root="x"), "data: NPZDataset needs split: set data.split"),
        (
            dict(type="FolderDataset", imagesize=8),
            r"data\.imagesize of FolderDataset; did you mean data\.image_size\?",
        ),
        (
            dict(type="NPZDatset"),
            "data: type='NPZDatset' is not a registered dataset; did you mean 'NPZDataset'",
        ),
    ],
)
def test_an_error_names_the_class_that_the_user_wrote(settings, message):
    with pytest.raises(UserError, match=message):
        build_dataset("data", settings)


def test_an_error_names_the_key_of_the_loader_and_of_evaluation(tiny_config, tmp_path):
    tiny_config.train_dataloader.dataset = dict(type="FolderDataset", data_root=str(tmp_path))
    with pytest.raises(UserError, match=r"train_dataloader\.dataset: FolderDataset needs image_size"):
        pretrain(tiny_config, work_dir=tmp_path / "run")
    tiny_config.evaluation_dataset = dict(type="ImageFiles", data_root=str(tmp_path))
    with pytest.raises(UserError, match=r"evaluation_dataset: ImageFiles needs image_size"):
        build_evaluation_splits(tiny_config)


def test_without_labelled_images_quality_alone_is_measured(tiny_config, tmp_path):
    config = load_config(tiny_config, {"evaluation_dataset": None})
    assert monitored_splits(config) is None
    splits = build_evaluation_splits(config)
    assert (len(splits.train), splits.test) == (1078, None)
    rows = evaluate(config, None, protocols=["quality"], out_dir=tmp_path)
    labelled = evaluate(tiny_config, None, protocols=["quality"], out_dir=tmp_path / "labelled")
    assert rows[0].last == labelled[0].last and rows[0].settings["test_split"] == "none (no labels)"
    assert rows[0].source["dataset"]["type"] == "Digits"
    for asked in (
        dict(),
        dict(protocols=["quality"], labels_per_class=[1]),
        dict(protocols=["knn", "quality"]),
    ):
        with pytest.raises(UserError, match="no evaluation_dataset .*only --protocols quality"):
            evaluate(config, None, out_dir=tmp_path, **asked)
    config.train_dataloader = None
    with pytest.raises(UserError, match="neither evaluation_dataset nor train_dataloader.dataset"):
        evaluate(config, None, protocols=["quality"], out_dir=tmp_path)


def test_statistics_of_channels_equal_those_of_numpy():
    images = np.random.default_rng(0).integers(0, 256, (7, 3, 5, 6), np.uint8)
    images[:, 1] //= 3
    mean, std = channel_statistics(ArrayDataset(images), 100)
    assert mean == pytest.approx((images / 255).mean((0, 2, 3)))
    assert std == pytest.approx((images / 255).std((0, 2, 3)))
    some = (images[[0, 3, 6]] / 255).mean((0, 2, 3))
    assert channel_statistics(ArrayDataset(images), 3)[0] == pytest.approx(some)


def sentences(config, images):
    model = build_model(config)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_of_misfits(config, ArrayDataset(images), model)
    return [str(one.message) for one in caught]


def test_what_does_not_fit_is_one_sentence_with_the_setting_that_does(tiny_config):
    config = copy.deepcopy(tiny_config)
    config.data_preprocessor = dict(mean=[0.5, 0.5, 0.5], std=[0.25, 0.25, 0.25])
    images = np.random.default_rng(0).integers(0, 256, (9, 3, 128, 100), np.uint8)
    fitting = images[:, :, :32, :32]
    assert sentences(config, fitting) == []
    (dark,) = sentences(config, fitting // 3)
    assert dark.startswith("The images are normalised with mean [0.5, 0.5, 0.5]")
    assert ": set data_preprocessor=dict(mean=[0.16" in dark
    # The convention of [-1, 1] says nothing about the images.
    assert sentences(tiny_config, fitting // 3) == []
    (stem,) = sentences(config, images)
    assert "Images of 128 px" in stem and "set model.backbone.type='ResNet', which" in stem
    config.model.backbone.type = "ResNet"
    assert sentences(config, images) == []
    assert "set model.backbone.type='ResNet_CIFAR', which" in sentences(config, fitting)[0]
    config.views[0].transforms[0].size = 64
    assert sentences(config, images) == [
        "The views have 64 px and the images 128 px: set views.0.transforms.0.size=128."
    ]
    config.views[0].transforms[0].size = 112
    assert sentences(config, images) == []
    # Small crops beside views of the whole size.
    config.views = [*config.views, dict(repeats=1, transforms=[dict(type="RandomResizedCrop", size=48)])]
    assert sentences(config, images) == []


@pytest.mark.parametrize(("batch", "named"), [(12, 16), (8, 16), (33, 32), (24, None), (16, None)])
def test_batches_that_cannot_be_normalised_in_parts(tiny_config, batch, named):
    tiny_config.model.backbone.norm_cfg = dict(type="SplitBN", num_splits=8)
    model = build_model(tiny_config)
    if named is None:
        check_split_norms(batch, model)
        return
    with pytest.raises(
        UserError, match=f"batch_size={batch}: .*8 equal parts.*: set train_dataloader.batch_size={named}"
    ):
        check_split_norms(batch, model)


@pytest.mark.parametrize(("stage", "channels"), [(2, 16), (3, 32)])
def test_a_mix_block_and_a_classifier_take_the_size_of_the_features(tiny_config, stage, channels):
    backbone = tiny_config.model.backbone
    model = dict(
        type="AMix",
        backbone=backbone,
        head=dict(type="LinearClsHead", in_channels=512, num_classes=10),
        mix_block=dict(in_channels=256),
        feature_stage=stage,
        momentum=0.99,
    )
    built = build_model(Config(dict(model=model)))
    assert built.head.in_channels == 64
    expected = MixBlock(in_channels=channels, upsampling="bilinear")
    assert built.mix_block.embedding.in_channels == expected.embedding.in_channels
    assert built(torch.randn(4, 3, 32, 32), mode="tensor").shape == (4, 10)

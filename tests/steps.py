"""One real optimiser step of a config on random images."""

from pathlib import Path

import numpy as np
import torch
from methods import method_of
from mmengine.optim import build_optim_wrapper
from mmengine.runner import Runner

from ssl_ext.apis import build_model
from ssl_ext.config.training import check_batches
from ssl_ext.datasets import ArrayDataset
from ssl_ext.models.utils.channels_last import to_channels_last

BATCH = 4
IMAGE_SIZES = {"cifar10-10k": 32} | dict(CIFAR10=32, CIFAR100=32, STL10=96, TinyImageNet=64, SVHN=32)


def name_of(dataset):
    """The name of a data set in the name of a config."""
    if dataset.type == "NPZDataset":
        return Path(dataset.data_root).stem
    if dataset.type == "FolderDataset":
        return Path(dataset.data_root).name
    if dataset.type == "JoinedDataset":
        return "-".join(map(name_of, dataset.datasets))
    return dataset.name if dataset.type == "MedMNIST" else dataset.type


def image_shape(dataset):
    """(C, H, W) that the data set of a config serves."""
    if dataset.type == "JoinedDataset":
        return image_shape(dataset.datasets[0])
    if dataset.type == "MedMNIST":
        return 3 if dataset.as_rgb else 1, dataset["size"], dataset["size"]
    size = dataset.get("image_size") or IMAGE_SIZES[name_of(dataset)]
    return 3, size, size


def smallest_side(config):
    """Pixels with which a network of this config still has four or one last pixels, for a fast step."""
    return 16 if config.model.backbone.type.endswith("_CIFAR") else 32


def loader_of(config, largest):
    """The config's loader over random images of at most ``largest`` px, with its channels and classes."""
    channels, *sides = image_shape(config.train_dataloader.dataset)
    shape = (channels, *(min(side, largest) for side in sides))
    images = np.random.default_rng(0).integers(0, 256, (BATCH + 1, *shape), np.uint8)
    labelled = config.model.get("labels", config.model.get("head", {}))
    classes = [str(number) for number in range(labelled.get("num_classes", 0))]
    labels = np.arange(BATCH + 1) % max(len(classes), 1)
    dataset = ArrayDataset(images, labels, classes=classes) if classes else ArrayDataset(images)
    settings = dict(config.train_dataloader, dataset=dataset, batch_size=BATCH, num_workers=0)
    settings.pop("persistent_workers", None)
    return Runner.build_dataloader(settings, seed=0)


def ready(config, largest):
    """A batch of the config's data, and its model and optimiser, with few clusters and a short queue."""
    config.merge_from_dict({"model": method_of(config.model.type).few})
    for part in (config.model.backbone, config.model.get("neck", {})):
        if "num_splits" in part.get("norm_cfg", {}):
            part.norm_cfg.num_splits = BATCH // 2
    for transform in (t for view in config.views for t in view.transforms):
        if transform.type == "RandomResizedCrop":
            transform.pop("size", None)
    if "labels" in config.model:
        config.model.labels.num_classes = 2
    torch.manual_seed(0)
    loader, model = loader_of(config, largest), build_model(config)
    check_batches(config, loader, model)
    model.set_dataset_size(len(loader.dataset))
    to_channels_last(model.train())
    (batch,) = loader
    return batch, model, build_optim_wrapper(model, config.optim_wrapper)

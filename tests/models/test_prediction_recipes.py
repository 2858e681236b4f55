"""The recipe of TriBYOL's family trains each method, at a small width and on digits, without collapse."""

from pathlib import Path

import pytest
import torch
from methods import BACKBONE, WIDTH
from mmengine.optim import build_optim_wrapper

from ssl_ext.apis import build_model, load_config
from ssl_ext.datasets import Digits
from ssl_ext.evaluation import feature_std

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*/*_1xb128-sgd-80e_cifar10.py"))
BATCH, STEPS = 16, 25


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem.partition("_")[0])
def test_losses_stay_finite_and_features_spread(path):
    torch.manual_seed(0)
    config = load_config(path)
    config.model.backbone = BACKBONE
    config.model.neck.in_channels = 2 * WIDTH
    if config.model.type == "PIRL":
        config.model.head.num_negatives = 64
    # The jigsaw needs nine patches.
    images = Digits("train", image_size=24 if config.model.get("pretext") == "jigsaw" else 8).images[
        : BATCH * STEPS
    ]
    model = build_model(config).train()
    model.set_dataset_size(len(images))
    optimiser = build_optim_wrapper(model, config.optim_wrapper).optimizer
    before = spread(model, images)
    for step, indices in enumerate(torch.arange(len(images)).split(BATCH), 1):
        inputs = model.data_preprocessor(dict(inputs=images[indices], indices=indices), training=True)
        model.before_step(step, step)
        terms = model.loss(**inputs)
        optimiser.zero_grad()
        sum(term for name, term in terms.items() if name.startswith("loss")).backward()
        optimiser.step()
        model.after_step(step, STEPS)
        assert all(torch.isfinite(term) for term in terms.values()), (step, terms)
    assert spread(model, images) > before


@torch.no_grad()
def spread(model, images):
    """Std of the unit embeddings of 256 images: 1 if they are spread over the sphere, 0 for a point."""
    model.eval()
    batch = model.data_preprocessor(dict(inputs=images[:256]), training=False)
    embeddings = model.project(model.extract_embedding(batch["inputs"]))
    model.train()
    return feature_std(embeddings) * embeddings.shape[1] ** 0.5

"""The figure of two images mixed by mixing policies and by learned blocks."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch
from matplotlib.figure import Figure
from mmengine.config import Config
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from ssl_ext.config.data import build_dataset
from ssl_ext.config.load import load_config
from ssl_ext.config.networks import random_network
from ssl_ext.engine import load_weights
from ssl_ext.errors import UserError, user_errors
from ssl_ext.mixups import gradient_saliency
from ssl_ext.models.evaluated import EvaluatedModel
from ssl_ext.models.utils import BlockMixing, MixingPolicy
from ssl_ext.models.utils.mixing import LossFunction
from ssl_ext.names import DRAWN_POLICIES, LAMS
from ssl_ext.visualization.mixing import draw_mixed_grid

from .images import chosen_images
from .titles import checkpoint_titles

CANDIDATES = 64  # images, of which the most unlike pair is drawn


def mixing_figure(
    config: Config | str | os.PathLike,
    *,
    policies: Sequence[str] | None = None,
    trained: Sequence[str | os.PathLike] = (),
    titles: Sequence[str] | None = None,
    lams: Sequence[float] = LAMS,
    weights: str | os.PathLike | None = None,
    seed: int = 0,
    options: dict | None = None,
) -> Figure:
    """Mixtures and masks of two training images, by policy, checkpoint and λ (Fig. 4 of AMix).

    Saliency is the gradient of the squared norm of the backbone's features, which needs no labels.
    Co-Mixup has no λ, so its row is constant.

    Args:
        config: A config with ``train_dataloader.dataset`` and a model.
        policies: Names from :data:`ssl_ext.names.DRAWN_POLICIES`; default: all, or none with ``trained``.
        trained: Checkpoints of the config's model with learned mixing (AMix, AutoMix); one row each.
        titles: Titles of the checkpoints; by default the method, seed and epoch that differ.
        lams: Shares in [0, 1] of the first image.
        weights: Checkpoint of the network that gives the saliency; by default random weights.
        seed: Seed of 64 images, of which the most unlike two are drawn, and of the policies.
        options: Config keys to override.

    Raises:
        UserError: Bad input, an unknown policy, or checkpoints of a model without learned mixing.
    """
    config = load_config(config, options, required=("model", "train_dataloader"))
    if policies is None:
        policies = () if trained else DRAWN_POLICIES
    if unknown := [name for name in policies if name not in DRAWN_POLICIES]:
        raise UserError(f"--policies has {unknown[0]}; allowed are {', '.join(DRAWN_POLICIES)}.")
    if outside := [lam for lam in lams if not 0 <= lam <= 1]:
        raise UserError(f"--lams has {outside[0]}; every λ must lie in [0, 1].")
    dataset = build_dataset("train_dataloader.dataset", config.train_dataloader.dataset)
    if len(dataset) < 2:
        raise UserError("train_dataloader.dataset has 1 image; mixing needs two.")
    model: Any = random_network(config, seed=seed)
    if trained and not isinstance(model, BlockMixing):
        raise UserError(f"--trained: model.type {config.model.type!r} has no learned mixing.")
    if weights is not None:
        load_weights(model, weights)
    embedding = EvaluatedModel(model)
    # The preprocessor does not propagate gradients.
    device = next(model.parameters()).device
    mean, std = (
        torch.tensor(values, device=device).view(-1, 1, 1)
        for values in (model.data_preprocessor.mean, model.data_preprocessor.std)
    )

    def energy(images: Tensor) -> Tensor:
        return embedding((images - mean) / std).square().sum()

    candidates = chosen_images(dataset, min(len(dataset), CANDIDATES), seed)
    pair = unlike_pair(candidates, gradient_saliency(candidates.to(device).float() / 255, energy).cpu())
    pictures = pair.to(device).float() / 255
    rows: dict[str, Any] = {}
    with user_errors("mixing"):
        for name in policies:
            policy = MixingPolicy(name)
            drawn = [mixture_and_mask(policy, pictures, lam, energy, seed) for lam in lams]
            rows[name] = tuple(torch.stack(part).cpu() for part in zip(*drawn, strict=True))
        names = checkpoint_titles(trained, titles) if trained else []
        for name, checkpoint in zip(names, trained, strict=True):
            load_weights(model, checkpoint)
            masks = learned_masks(model, pair, lams)
            rows[name] = torch.lerp(pictures[1], pictures[0], masks).cpu(), masks.cpu()
        return draw_mixed_grid(rows, lams, pair.float() / 255, learned=names)


def unlike_pair(images: Tensor, saliency: Tensor) -> Tensor:
    """The two of N images whose mixtures differ most between policies.

    They have the largest product of the distance of their pixels and that of their salient places (the shares
    of 4 x 4 blocks in ``saliency`` (N, H, W)).
    """
    blocks = adaptive_avg_pool2d(saliency[:, None], 4).flatten(1)
    places = torch.pdist(blocks / blocks.sum(1, keepdim=True).clamp_min(1e-12), p=1)
    best = (torch.pdist(images.flatten(1).float(), p=1) * places).argmax()
    pairs = torch.triu_indices(len(images), len(images), 1)
    return images[pairs[:, best]]


@torch.no_grad()
def learned_masks(model: Any, pair: Tensor, lams: Sequence[float]) -> Tensor:
    """Masks (K, 1, H, W) of the first of two images, uint8 (2, C, H, W), by a model's block for K λ."""
    clean = model.data_preprocessor(dict(inputs=pair), False)["inputs"]
    first, second = (image.expand(len(lams), *image.shape) for image in clean)
    return model.masks(first, second, torch.tensor(lams, device=clean.device))


def mixture_and_mask(
    policy: MixingPolicy, pair: Tensor, lam: float, loss_fn: LossFunction, seed: int
) -> tuple[Tensor, Tensor]:
    """The first mixture (C, H, W) of two images (2, C, H, W), and the mask (H, W) of the first image.

    The mask is the derivative of the mixture with respect to the brightness of the first image: given its
    random draws, a policy is linear in the pixels.
    """
    pair = pair.clone().requires_grad_()
    mixed = policy.mix(
        pair,
        lam,
        torch.tensor([1, 0], device=pair.device),
        loss_fn=loss_fn,
        generator=torch.Generator().manual_seed(seed),
    )
    # Two backward passes make a forward derivative: a vector-Jacobian product is linear in the vector.
    image = mixed.images[0]
    probe = torch.zeros_like(image).requires_grad_()
    (pulled,) = torch.autograd.grad(image, pair, probe, create_graph=True)
    (mask,) = torch.autograd.grad(pulled[0].sum(), probe)
    return image.detach().clamp(0, 1), mask.mean(0)

"""Co-Mixup (Kim et al., 2021): joint mixing of a batch for saliency and diversity."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_ext.values import check_positive

from .mixed import check_least, dirichlet, uniform

TINY = 1e-8


def co_mixup(
    images: Tensor,
    *,
    saliency: Tensor,
    alpha: float = 2.0,
    generator: torch.Generator | None = None,
    blocks: int = 4,
    part: int = 20,
    smoothness: float = 0.32,
    diversity: float = 1.0,
    prior: float = 0.05,
    threshold: float = 0.83,
    compatibility: float = 0.001,
    iterations: int = 4,
) -> tuple[Tensor, Tensor]:
    """Mix a batch into N mixtures whose blocks each show one sample (minimises ``CoMixupEnergy``).

    The batch is mixed in parts of up to ``part`` samples, from random blocks, one mixture at a time, as in
    the authors' code: the diversity has a slack for each sample. Simplification: a block shows one sample
    (the authors' code also tries equal mixtures of samples already in the mixture).

    Args:
        images: (N, C, H, W), floating point.
        saliency: (N, H, W), ≥ 0.
        alpha: α of the Dirichlet prior over samples, > 0.
        generator: Random generator of the prior and the initial blocks.
        blocks: Blocks along a side, ≥ 1; clipped to the number of pixels.
        part: Largest number of samples mixed together, ≥ 2; the batch is split evenly.
        smoothness: β, weight of label changes between neighbouring blocks, ≥ 0.
        diversity: γ, weight of the overlap between mixtures, ≥ 0.
        prior: η, weight of the prior, ≥ 0.
        threshold: τ, share of a sample in all other mixtures without penalty, ≥ 0.
        compatibility: ω in [0, 1], weight of the distance between salient blocks of two samples.
        iterations: Passes over the mixtures, ≥ 1.

    Returns:
        Mixtures (N, C, H, W), and weights (N, N) whose entry [n, k] is the share of sample k in mixture n.

    Raises:
        ValueError: A setting is out of range, or shapes do not match.
        ImportError: PyMaxflow is not installed.
    """
    if images.ndim != 4 or saliency.shape != images.shape[:1] + images.shape[2:]:
        raise ValueError(
            f"images must be (N, C, H, W) and saliency (N, H, W), got {tuple(images.shape)} and "
            f"{tuple(saliency.shape)}"
        )
    check_positive("model.policy", alpha=alpha)
    check_least(
        blocks=(blocks, 1),
        part=(part, 2),
        smoothness=(smoothness, 0),
        diversity=(diversity, 0),
        prior=(prior, 0),
        threshold=(threshold, 0),
        compatibility=(compatibility, 0),
        iterations=(iterations, 1),
    )
    if compatibility > 1:
        raise ValueError(
            f"compatibility must be at most 1, got {compatibility} (config key model.policy.compatibility)"
        )
    # Imported here because the other policies do not need NumPy.
    from .co_mixup_energy import CoMixupEnergy

    n, _, height, width = images.shape
    grid = min(blocks, height), min(blocks, width)
    pooled = F.adaptive_avg_pool2d(saliency[:, None].float(), grid).squeeze(1)
    salient = (pooled / pooled.sum((1, 2), keepdim=True).clamp(min=TINY**2)).cpu().double()
    chosen = torch.empty(n, *grid, dtype=torch.long)
    for rows in torch.arange(n).tensor_split(-(-n // part)):
        probability = dirichlet(alpha, len(rows), generator, torch.device("cpu")).double()
        energy = CoMixupEnergy(
            salient[rows].numpy(),
            (probability + TINY).log().numpy(),
            smoothness=smoothness,
            diversity=diversity,
            prior=prior,
            threshold=threshold,
            compatibility=compatibility,
        )
        start = (uniform((len(rows), *grid), generator, torch.device("cpu")) * len(rows)).long().numpy()
        labels, _ = energy.minimise(start, iterations)
        chosen[rows] = rows[torch.from_numpy(labels)]
    return compose(images, chosen.to(images.device))


def compose(images: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
    """Return mixtures whose blocks show the samples ``chosen`` (N, h, w), and their shares (N, N)."""
    n, channels, height, width = images.shape
    # float32 holds indices exactly up to 2 ** 24.
    index = F.interpolate(chosen[:, None].float(), size=(height, width), mode="nearest").long()
    weights = torch.zeros(n, n, device=images.device)
    ones = torch.ones(n, height * width, device=images.device)
    weights.scatter_add_(1, index.flatten(1), ones)
    return images.gather(0, index.expand(-1, channels, -1, -1)), weights / (height * width)

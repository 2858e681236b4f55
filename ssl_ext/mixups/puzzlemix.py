"""PuzzleMix (Kim et al., 2020): a mask by graph cut, then transport of salient cells."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .graph_cut import smooth_labels
from .mixed import blend, check_least, check_pairs, shares, uniform
from .transport import transport

# Side in pixels of the averages that are compared across block borders.
SMOOTHING = 4
# Blocks per side of the grid to which the authors' smoothness weight refers.
GRID = 16
TINY = 1e-8


def puzzlemix(
    images: Tensor,
    lam: Tensor | float,
    permutation: Tensor,
    *,
    saliency: Tensor,
    generator: torch.Generator | None = None,
    blocks: Sequence[int] = (2, 4, 8, 16),
    levels: int = 3,
    smoothness: float = 1.2,
    data_smoothness: float = 0.5,
    prior: float = 0.2,
    transport_cell: int = 4,
    transport_cost: float = 0.8,
) -> tuple[Tensor, Tensor]:
    """Mix with a mask and a transport that keep the salient parts of both samples.

    The mask is the exact minimum of ``mask_energy``; then the cells of each sample are moved
    (``transport``), as in the authors' code.

    Args:
        images: (N, C, H, W), floating point.
        lam: λ in [0, 1], a scalar or (N,), the mean of the prior of the mask.
        permutation: (N,) int64, the partner j of each sample i.
        saliency: (N, H, W), ≥ 0.
        generator: Random generator of the number of blocks.
        blocks: Candidate numbers of blocks along a side, each ≥ 1; one is drawn per batch and clipped to
            the number of pixels.
        levels: Number of mask values in [0, 1], ≥ 2.
        smoothness: β, weight of differences between neighbouring blocks of the mask, ≥ 0.
        data_smoothness: γ, weight of colour differences at block borders, ≥ 0.
        prior: η, weight of the binomial prior of the mask, ≥ 0.
        transport_cell: Side in pixels of the moved cells, at most that of a block; 0 disables transport.
        transport_cost: ξ, cost per squared distance, ≥ 0.

    Returns:
        Mixtures (N, C, H, W), and the mean (N,) of each mask, the share of sample i.

    Raises:
        ValueError: A setting is out of range, or shapes do not match.
        ImportError: PyMaxflow is not installed.
    """
    check_pairs(images, permutation)
    if saliency.shape != images.shape[:1] + images.shape[2:]:
        raise ValueError(
            f"saliency must be (N, H, W) of images {tuple(images.shape)}, got {tuple(saliency.shape)}"
        )
    check_least(
        blocks=(min(blocks, default=0), 1),
        levels=(levels, 2),
        smoothness=(smoothness, 0),
        data_smoothness=(data_smoothness, 0),
        prior=(prior, 0),
        transport_cell=(transport_cell, 0),
        transport_cost=(transport_cost, 0),
    )
    lam = shares(lam, len(images), images.device)
    height, width = images.shape[2:]
    count = blocks[int(uniform((), generator, torch.device("cpu")) * len(blocks))]
    grid = min(count, height), min(count, width)
    unary, down, right = mask_energy(
        images.detach(),
        saliency,
        permutation,
        lam,
        grid=grid,
        levels=levels,
        smoothness=smoothness,
        data_smoothness=data_smoothness,
        prior=prior,
    )
    mask = smooth_labels(unary, down, right)[:, None].float() / (levels - 1)
    mask = F.interpolate(mask, size=(height, width), mode="nearest")
    partners = images[permutation]
    if transport_cell:
        cell = min(transport_cell, height // grid[0], width // grid[1])
        images = transport(images, saliency, mask, cell=cell, cost=transport_cost)
        partners = transport(partners, saliency[permutation], 1 - mask, cell=cell, cost=transport_cost)
    return blend(images, partners, mask)


def mask_energy(
    images: Tensor,
    saliency: Tensor,
    permutation: Tensor,
    lam: Tensor,
    *,
    grid: tuple[int, int],
    levels: int,
    smoothness: float,
    data_smoothness: float,
    prior: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Energy of a mask z on a grid of n blocks (Eq. 5 of the paper with Π = 1), for ``smooth_labels``.

    E(z) = Σ_a (1 − z_a) s_i,a + z_a s_j,a + η/n · −log p(z_a)
         + β' Σ over neighbours (a, b) of (z_a − z_b)² + γ φ(z_a, z_b), β' = β / (16 √n).

    s sums to 1 over the blocks of an image, p is binomial with mean λ, and φ is the expected colour
    difference between the two blocks at their border if block a shows sample i with probability z_a. φ is
    exact for z in {0, 1}; its product term z_a · z_b enters as a multiple of (z_a − z_b)², the authors'
    extension to more levels, with the total weight clipped at 0. Colours are scaled to the range of the
    batch.

    Returns:
        Costs of the levels (N, h, w, L) and weights of (z_a − z_b)² downwards (N, h − 1, w) and to the
        right (N, h, w − 1).
    """
    blocks = grid[0] * grid[1]
    own = F.adaptive_avg_pool2d(saliency[:, None].float(), grid).squeeze(1)
    own = own / own.sum((1, 2), keepdim=True).clamp(min=TINY**2)
    other = own[permutation]
    smoothness = smoothness / (GRID * math.sqrt(blocks))

    slope = other - own
    weights = []
    for axis, (ii, ij, ji, jj) in enumerate(_border_differences(images, permutation, grid), start=1):
        ahead, behind = slope.narrow(axis, 0, ii.shape[axis]), slope.narrow(axis, 1, ii.shape[axis])
        ahead += smoothness * data_smoothness * (ij + ii - ji - jj) / 2
        behind += smoothness * data_smoothness * (ji + ii - ij - jj) / 2
        curvature = (ij + ji - ii - jj) / 2
        weights.append((smoothness * (1 + data_smoothness * curvature)).clamp(min=0))
    level = torch.arange(levels, device=images.device)
    ways = torch.tensor([math.comb(levels - 1, k) for k in range(levels)], device=images.device)
    probability = ways * lam[:, None] ** level * (1 - lam[:, None]) ** (levels - 1 - level)
    cost = -prior / blocks * (probability + TINY).log()
    unary = own[..., None] + slope[..., None] * level / (levels - 1) + cost[:, None, None]
    return unary, weights[0], weights[1]


def _border_differences(
    images: Tensor, permutation: Tensor, grid: tuple[int, int]
) -> tuple[list[Tensor], list[Tensor]]:
    """Mean colour differences at the borders to the block below and to the block on the right.

    Four for each direction, by the samples that the two blocks show: (i, i), (i, j), (j, i), (j, j).
    """
    images = images.float()
    low, high = images.amin((0, 2, 3), keepdim=True), images.amax((0, 2, 3), keepdim=True)
    images = (images - low) / (high - low).clamp(min=TINY)
    height, width = images.shape[2:]
    cells = max(min(height // grid[0], width // grid[1]) // SMOOTHING, 1)
    own = F.adaptive_avg_pool2d(images, (grid[0] * cells, grid[1] * cells))
    other = own[permutation]
    results: tuple[list[Tensor], list[Tensor]] = ([], [])
    for first, second in ((own, own), (own, other), (other, own), (other, other)):
        last, start = first[:, :, cells - 1 : -1 : cells], second[:, :, cells::cells]
        difference = (last - start).abs().mean(1)
        results[0].append(difference.unflatten(2, (grid[1], cells)).mean(3))
        last, start = first[..., cells - 1 : -1 : cells], second[..., cells::cells]
        difference = (last - start).abs().mean(1)
        results[1].append(difference.unflatten(1, (grid[0], cells)).mean(2))
    return results

"""PuzzleMix: graph cut against brute force, energy against a loop, transport against all assignments."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from ssl_ext.mixups import puzzlemix
from ssl_ext.mixups.graph_cut import smooth_labels
from ssl_ext.mixups.puzzlemix import mask_energy
from ssl_ext.mixups.transport import squared_distances, transport

SETTINGS = dict(smoothness=1.2, data_smoothness=0.5, prior=0.2)


def grid_energy(labels, unary, down, right):
    height, width, levels = unary.shape
    total = sum(unary[y, x, labels[y][x]].item() for y in range(height) for x in range(width))
    for y in range(height):
        for x in range(width):
            if y + 1 < height:
                total += down[y, x].item() * ((labels[y][x] - labels[y + 1][x]) / (levels - 1)) ** 2
            if x + 1 < width:
                total += right[y, x].item() * ((labels[y][x] - labels[y][x + 1]) / (levels - 1)) ** 2
    return total


@pytest.mark.parametrize(
    ("height", "width", "levels"), [(2, 2, 3), (2, 3, 2), (2, 3, 3), (3, 1, 4), (1, 1, 3)]
)
@pytest.mark.parametrize("scale", [0.1, 1.0, 5.0])
def test_the_cut_has_the_least_energy_of_all_labellings(height, width, levels, scale):
    unary = torch.randn(4, height, width, levels)
    down, right = scale * torch.rand(4, height - 1, width), scale * torch.rand(4, height, width - 1)
    found = smooth_labels(unary, down, right)
    for n in range(4):
        energies = [
            grid_energy(
                [flat[y * width : (y + 1) * width] for y in range(height)], unary[n], down[n], right[n]
            )
            for flat in itertools.product(range(levels), repeat=height * width)
        ]
        energy = grid_energy(found[n].tolist(), unary[n], down[n], right[n])
        assert energy == pytest.approx(min(energies), abs=1e-6)


def loop_energy(images, saliency, lam, mask, smoothness, data_smoothness, prior):
    """Energy of Kim et al. for a pair of images with blocks of 4 px and a binary mask, term by term."""
    height, width = mask.shape
    pooled = F.avg_pool2d(saliency[:, None], 4)[:, 0]
    pooled = pooled / pooled.sum((1, 2), keepdim=True)
    low = images.amin((0, 2, 3), keepdim=True)
    images = (images - low) / (images.amax((0, 2, 3), keepdim=True) - low)
    colours = F.avg_pool2d(images, 4)
    beta = smoothness / 16 / math.sqrt(height * width)
    total = 0.0
    places = list(itertools.product(range(height), range(width)))
    for y, x in places:
        z = mask[y, x]
        total += (1 - z) * pooled[0, y, x] + z * pooled[1, y, x]
        total -= prior / (height * width) * math.log((lam if z else 1 - lam) ** 2)
        for dy, dx in ((1, 0), (0, 1)):
            if (y + dy, x + dx) in places:
                other = mask[y + dy, x + dx]
                here, there = colours[1 - z, :, y, x], colours[1 - other, :, y + dy, x + dx]
                total += beta * (z - other) ** 2
                total += beta * data_smoothness * (here - there).abs().mean()
    return float(total)


def test_the_energy_of_a_binary_mask_is_that_of_the_paper_up_to_a_constant():
    images, saliency = torch.randn(2, 3, 8, 12), torch.rand(2, 8, 12)
    lam = torch.tensor([0.3, 0.3])
    unary, down, right = mask_energy(
        images, saliency, torch.tensor([1, 0]), lam, grid=(2, 3), levels=3, **SETTINGS
    )
    differences = []
    for flat in itertools.product((0, 1), repeat=6):
        mask = torch.tensor(flat).view(2, 3)
        expected = loop_energy(images, saliency, 0.3, mask, **SETTINGS)
        differences.append(expected - grid_energy((2 * mask).tolist(), unary[0], down[0], right[0]))
    assert max(differences) - min(differences) < 1e-5


def test_the_prior_is_binomial_with_mean_lam():
    flat = torch.ones(3, 4, 4)
    lam = torch.tensor([0.2, 0.5, 0.7])
    unary, _, _ = mask_energy(
        torch.zeros(3, 1, 4, 4),
        flat,
        torch.arange(3),
        lam,
        grid=(2, 2),
        levels=4,
        smoothness=0.0,
        data_smoothness=0.0,
        prior=1.0,
    )
    probability = (-4 * (unary - 1 / 4)).exp()
    torch.testing.assert_close(probability.sum(3), torch.ones(3, 2, 2))
    level = torch.arange(4) / 3
    torch.testing.assert_close((probability * level).sum(3), lam.view(3, 1, 1).expand(3, 2, 2))


def test_the_mask_follows_saliency_and_lam_is_its_mean():
    images = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 1, 8, 8).clone()
    saliency = torch.full((2, 8, 8), 0.01)
    saliency[0, :, :4] = 1
    saliency[1, :, 4:] = 1
    permutation = torch.tensor([1, 0])
    mixed, lam = puzzlemix(images, 0.5, permutation, saliency=saliency, blocks=(2,))
    assert torch.equal(lam, torch.tensor([0.5, 0.5]))
    assert (mixed[0, :, :, :4] == 0).all()
    assert (mixed[0, :, :, 4:] == 1).all()
    assert torch.equal(mixed[1], mixed[0])
    # With uniform saliency the prior decides.
    for value in (0.0, 1.0):
        _, lam = puzzlemix(images, value, permutation, saliency=torch.ones(2, 8, 8), blocks=(4,))
        assert torch.equal(lam, torch.full((2,), value))


def test_transport_equals_the_best_of_all_assignments():
    saliency, images = torch.rand(3, 4, 6), torch.randn(3, 2, 4, 6)
    shown = (torch.rand(3, 1, 2, 3) < 0.5).float().repeat_interleave(2, 2).repeat_interleave(2, 3)
    moved = transport(images, saliency, shown, cell=2, cost=0.1)
    distance = squared_distances(2, 3)
    for n in range(3):
        salient = F.avg_pool2d(saliency[n, None], 2).flatten()
        salient = salient / salient.sum()
        visible = F.avg_pool2d(shown[n], 2).flatten()

        def price(sources, salient=salient, visible=visible):
            return sum(
                0.1 * distance[cell, place] - salient[cell] * visible[place]
                for place, cell in enumerate(sources)
            )

        best = min(itertools.permutations(range(6)), key=price)
        cells = F.unfold(images[n, None], 2, stride=2)[0]
        expected = F.fold(cells[:, list(best)], (4, 6), 2, stride=2)
        torch.testing.assert_close(moved[n], expected)


def test_dear_transport_moves_nothing_and_cheap_transport_shows_what_is_salient():
    images = torch.arange(16.0).view(1, 1, 4, 4)
    saliency = torch.zeros(1, 4, 4)
    saliency[0, :2, :2] = 1
    shown = torch.zeros(1, 1, 4, 4)
    shown[..., 2:, 2:] = 1
    assert torch.equal(transport(images, saliency, shown, cell=2, cost=10.0), images)
    moved = transport(images, saliency, shown, cell=2, cost=0.01)
    assert torch.equal(moved[..., 2:, 2:], images[..., :2, :2])
    assert torch.equal(moved.flatten().sort().values, images.flatten())


def test_pixels_beside_the_whole_cells_stay():
    images, saliency = torch.randn(2, 3, 7, 9), torch.rand(2, 7, 9)
    moved = transport(images, saliency, (torch.rand(2, 1, 7, 9) < 0.5).float(), cell=4, cost=0.0)
    assert torch.equal(moved[:, :, 4:], images[:, :, 4:])
    assert torch.equal(moved[..., 8:], images[..., 8:])
    assert not torch.equal(moved, images)


def test_the_number_of_blocks_is_drawn():
    images, saliency = torch.randn(2, 1, 16, 16), torch.rand(2, 16, 16)

    def corners(seed):
        generator = torch.Generator().manual_seed(seed)
        ones = torch.arange(2.0).view(2, 1, 1, 1).expand_as(images)
        mixed, _ = puzzlemix(
            ones,
            0.5,
            torch.tensor([1, 0]),
            saliency=saliency,
            generator=generator,
            blocks=(1, 16),
            smoothness=0.0,
        )
        return mixed.unique().numel(), bool((mixed[0].diff(dim=1) != 0).any())

    patterned = {corners(seed)[1] for seed in range(8)}
    assert patterned == {False, True}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(blocks=()), "blocks must be at least 1, got 0 .config key model.policy.blocks"),
        (dict(levels=1), "levels must be at least 2, got 1"),
        (dict(smoothness=-1), "smoothness must be at least 0, got -1"),
        (dict(prior=float("nan")), "prior must be at least 0, got nan"),
        (dict(transport_cell=-1), "transport_cell must be at least 0"),
        (dict(saliency=torch.rand(2, 4)), r"saliency must be \(N, H, W\)"),
    ],
)
def test_bad_options_are_one_sentence(options, message):
    settings = dict(saliency=torch.rand(2, 8, 8)) | options
    with pytest.raises(ValueError, match=message):
        puzzlemix(torch.zeros(2, 1, 8, 8), 0.5, torch.arange(2), **settings)

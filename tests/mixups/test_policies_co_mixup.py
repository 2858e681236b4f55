"""Co-Mixup: energy against a loop, monotone descent, and shares of the samples shown."""

import itertools
import math

import numpy as np
import pytest
import torch

from ssl_ext.mixups import co_mixup
from ssl_ext.mixups.co_mixup import compose
from ssl_ext.mixups.co_mixup_energy import CoMixupEnergy

SETTINGS = dict(smoothness=0.32, diversity=1.0, prior=0.05, threshold=0.83, compatibility=0.001)


def random_energy(samples, grid, seed=0, **options):
    random = np.random.default_rng(seed)
    saliency = random.exponential(size=(samples, *grid)) ** 2
    saliency /= saliency.sum((1, 2), keepdims=True)
    log_prior = np.log(random.dirichlet(np.ones(samples)))
    return CoMixupEnergy(saliency, log_prior, **(SETTINGS | options))


def loop_value(energy, labels):
    samples, height, width = labels.shape
    blocks = height * width
    peaks = [np.unravel_index(s.argmax(), s.shape) for s in energy.saliency]
    distance = [[sum(abs(a - b) for a, b in zip(p, q, strict=True)) for q in peaks] for p in peaks]
    total_distance = sum(map(sum, distance))
    total = 0.0
    shares = [[(z == k).sum() / blocks for k in range(samples)] for z in labels]
    for z in labels:
        for y, x in itertools.product(range(height), range(width)):
            total -= energy.saliency[z[y, x], y, x]
            total -= energy.prior / blocks * energy.log_prior[z[y, x]]
            for other in ([z[y + 1, x]] if y + 1 < height else []) + ([z[y, x + 1]] if x + 1 < width else []):
                total += energy.smoothness / blocks * (z[y, x] != other)
    for j, a in itertools.product(range(samples), repeat=2):
        overlap = 0.0
        for k, b in itertools.product(range(samples), repeat=2):
            fit = (1 - energy.compatibility) * (a == b)
            fit += energy.compatibility * distance[a][b] * samples / total_distance
            overlap += fit * shares[k][b] * (j != k)
        if overlap > energy.threshold:
            total += energy.diversity * blocks * shares[j][a] * overlap
    return total


def random_start(samples, grid, seed=0):
    return np.random.default_rng(seed).integers(samples, size=(samples, *grid))


@pytest.mark.parametrize("compatibility", [0.0, 0.5])
def test_the_energy_equals_a_loop(compatibility):
    energy = random_energy(4, (2, 3), compatibility=compatibility, threshold=0.5)
    for seed in range(5):
        labels = random_start(4, (2, 3), seed)
        assert energy.value(labels) == pytest.approx(loop_value(energy, labels), abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("options", [{}, dict(threshold=0.3, compatibility=0.3), dict(smoothness=0.01)])
def test_the_energy_never_rises_and_is_that_of_the_labels(seed, options):
    energy = random_energy(8, (4, 3), seed, **options)
    labels, values = energy.minimise(random_start(8, (4, 3), seed), 4)
    assert len(values) == 6
    assert all(after <= before + 1e-9 for before, after in itertools.pairwise(values))
    assert values[-1] < values[0]
    assert values[-1] == pytest.approx(energy.value(labels))


def test_without_diversity_every_mixture_is_the_best_of_all_labellings():
    energy = random_energy(3, (2, 2), diversity=0.0)
    labels, values = energy.minimise(random_start(3, (2, 2)), 2)
    best = min(energy._own(np.array(flat).reshape(2, 2)) for flat in itertools.product(range(3), repeat=4))
    assert values[-1] == pytest.approx(3 * best)
    assert (labels == labels[0]).all()


@pytest.mark.parametrize("threshold", [0.83, 0.3])
def test_diversity_keeps_the_mixtures_apart(threshold):
    start = random_start(8, (4, 4))
    greedy, _ = random_energy(8, (4, 4), 1, diversity=0.0).minimise(start, 3)
    assert (greedy == greedy[0]).all()
    energy = random_energy(8, (4, 4), 1, threshold=threshold)
    diverse, values = energy.minimise(start, 3)
    assert values[-1] < energy.value(greedy)
    assert len(np.unique(diverse, axis=0)) > 2


def photographs(samples, random):
    """Saliency of blocks as images have it: a bright spot each, and texture."""
    y, x = np.mgrid[:4, :4]
    centre = random.uniform(0, 3, size=(2, samples, 1, 1))
    spot = np.exp(-((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / 2)
    saliency = (0.2 + spot) * random.uniform(0.5, 1.5, size=(samples, 4, 4))
    return saliency / saliency.sum((1, 2), keepdims=True)


def test_mixtures_have_two_to_three_sources_of_which_one_is_the_larger():
    random = np.random.default_rng(0)
    sources, largest, below = [], [], []
    for _ in range(3):
        log_prior = np.log(random.dirichlet(2 * np.ones(20)))
        energy = CoMixupEnergy(photographs(20, random), log_prior, **SETTINGS)
        labels, values = energy.minimise(random.integers(20, size=(20, 4, 4)), 3)
        shares = energy.shares(labels)
        sources.append((shares > 0).sum(1).mean())
        largest.append(shares.max(1).mean())
        below.append(values[0] - values[-1])
    assert 2 < np.mean(sources) < 3 and 0.45 < np.mean(largest) < 0.75, (sources, largest)
    assert min(below) > 50


def test_the_prior_and_the_distances_count():
    saliency = np.full((2, 2, 2), 0.25)
    energy = CoMixupEnergy(
        saliency, np.log([0.9, 0.1]), 0.32, diversity=0.0, prior=1.0, threshold=0.83, compatibility=0.0
    )
    labels, values = energy.minimise(random_start(2, (2, 2)), 1)
    assert (labels == 0).all()
    assert values[-1] == pytest.approx(2 * (-1 - math.log(0.9)))


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (2, 1, 7, 9), (5, 3, 9, 7), (3, 1, 1, 5)])
def test_weights_are_the_shares_of_constant_colours(shape):
    n = shape[0]
    images = torch.arange(float(n)).view(n, 1, 1, 1).expand(shape).clone()
    saliency = torch.rand(n, *shape[2:]) ** 4
    mixed, weights = co_mixup(images, saliency=saliency, part=3)
    torch.testing.assert_close(weights.sum(1), torch.ones(n))
    for k in range(n):
        torch.testing.assert_close((mixed[:, 0] == k).float().mean((1, 2)), weights[:, k])


def test_blocks_show_their_sample_where_it_was():
    images = torch.randn(2, 3, 4, 6)
    chosen = torch.tensor([[[0, 1, 1], [0, 0, 1]], [[1, 1, 1], [1, 1, 0]]])
    mixed, weights = compose(images, chosen)
    for n, y, x in itertools.product(range(2), range(4), range(6)):
        assert torch.equal(mixed[n, :, y, x], images[chosen[n, y // 2, x // 2], :, y, x])
    torch.testing.assert_close(weights, torch.tensor([[1 / 2, 1 / 2], [1 / 6, 5 / 6]]))


def test_parts_mix_among_themselves():
    saliency = torch.rand(7, 8, 8) ** 4
    _, weights = co_mixup(torch.randn(7, 3, 8, 8), saliency=saliency, part=4)
    assert (weights[:4, 4:] == 0).all()
    assert (weights[4:, :4] == 0).all()
    assert ((weights > 0).sum(1) > 1).any()


def test_a_generator_decides_the_prior():
    images, saliency = torch.randn(8, 1, 8, 8), torch.ones(8, 8, 8)

    def weights(seed):
        return co_mixup(images, saliency=saliency, prior=5.0, generator=torch.Generator().manual_seed(seed))[
            1
        ]

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(alpha=0), "model.policy.alpha is 0; it must be above 0"),
        (dict(part=1), "part must be at least 2, got 1"),
        (dict(iterations=0), "iterations must be at least 1"),
        (dict(smoothness=float("nan")), "smoothness must be at least 0, got nan"),
        (dict(compatibility=1.5), "compatibility must be at most 1, got 1.5"),
        (dict(saliency=torch.rand(2, 4)), r"saliency \(N, H, W\)"),
    ],
)
def test_bad_options_are_one_sentence(options, message):
    settings = dict(saliency=torch.rand(2, 8, 8)) | options
    with pytest.raises(ValueError, match=message):
        co_mixup(torch.zeros(2, 1, 8, 8), **settings)

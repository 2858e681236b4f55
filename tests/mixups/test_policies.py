"""Each mixing policy against its definition: closed forms, constant colours, slow loops."""

import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F

from ssl_ext.mixups import (
    cutmix,
    fmix,
    inter_intra,
    mixup,
    puzzlemix,
    resizemix,
    saliencymix,
)
from ssl_ext.mixups.cutmix import outside_box
from ssl_ext.mixups.fmix import brightest, low_frequency_images
from ssl_ext.mixups.inter_intra import pair_within_classes


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def puzzle(images, lam, permutation, *, generator=None, **options):
    saliency = torch.rand(len(images), *images.shape[2:], generator=torch.Generator().manual_seed(9)) + 0.1
    return puzzlemix(images, lam, permutation, saliency=saliency, generator=generator, **options)


def inter(images, lam, permutation, *, generator=None):
    labels = torch.arange(len(images)) // 2
    return inter_intra(images, lam, permutation, labels=labels, intra_lam=0.4, generator=generator)


PAIRED = {
    "mixup": mixup,
    "cutmix": cutmix,
    "saliencymix": saliencymix,
    "fmix": fmix,
    "resizemix": resizemix,
    "puzzlemix": puzzle,
    "inter_intra": inter,
}
SHAPES = [(2, 3, 8, 8), (2, 1, 7, 9), (5, 3, 9, 7), (3, 1, 1, 5)]


@pytest.mark.parametrize("name", PAIRED)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("lam", [0.0, 0.3, 1.0, torch.tensor(0.6), "per sample"])
def test_constant_colours_show_permutation_and_effective_share(name, shape, lam):
    """Sample n has the constant value n, so the mean of a mixture is lam · n + (1 − lam) · permutation[n]."""
    n = shape[0]
    images = torch.arange(float(n)).view(n, 1, 1, 1).expand(shape).clone()
    before = images.clone()
    lam = torch.linspace(0, 1, n) if isinstance(lam, str) else lam
    permutation = torch.arange(n).roll(1)
    mixed, share = PAIRED[name](images, lam, permutation, generator=generator())
    assert mixed.shape == shape
    assert share.shape == (n,)
    assert (share >= 0).all()
    assert (share <= 1).all()
    expected = share * torch.arange(n) + (1 - share) * permutation
    torch.testing.assert_close(mixed.mean((1, 2, 3)), expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(images, before)


@pytest.mark.parametrize("name", PAIRED)
def test_a_generator_decides_everything(name):
    images, permutation = torch.randn(6, 3, 12, 10, generator=generator(1)), torch.arange(6).flip(0)
    policy = PAIRED[name]
    torch.manual_seed(1)
    first = policy(images, 0.5, permutation, generator=generator(3))
    torch.manual_seed(2)
    torch.testing.assert_close(policy(images, 0.5, permutation, generator=generator(3)), first)
    if name in ("cutmix", "fmix", "resizemix", "inter_intra"):
        assert not torch.equal(policy(images, 0.5, permutation, generator=generator(4))[0], first[0])


@pytest.mark.parametrize("name", ["mixup", "cutmix", "saliencymix", "fmix"])
def test_the_extremes_are_the_images_themselves(name):
    images, permutation = torch.randn(4, 3, 8, 6), torch.tensor([1, 0, 3, 2])
    mixed, share = PAIRED[name](images, 1.0, permutation)
    assert torch.equal(mixed, images)
    assert torch.equal(share, torch.ones(4))
    if name in ("mixup", "fmix"):  # boxes are clipped at the border
        mixed, share = PAIRED[name](images, 0.0, permutation)
        assert torch.equal(mixed, images[permutation])
        assert torch.equal(share, torch.zeros(4))


def test_mixup_mixes_features_of_any_shape_and_passes_gradients():
    features = torch.randn(3, 7, dtype=torch.float64, requires_grad=True)
    permutation = torch.tensor([2, 0, 1])
    lam = torch.tensor([0.1, 0.5, 0.8])
    mixed, share = mixup(features, lam, permutation)
    weight = lam.double()[:, None]
    torch.testing.assert_close(mixed, weight * features + (1 - weight) * features[permutation])
    assert torch.equal(share, lam)
    assert torch.autograd.gradcheck(lambda z: mixup(z, lam, permutation)[0], features)


def loop_cutmix(images, lam, permutation, centres):
    mixed, shares = images.clone(), []
    height, width = images.shape[2:]
    for n, (y, x) in enumerate(centres):
        side_y, side_x = (round(math.sqrt(1 - lam[n]) * side) for side in (height, width))
        count = 0
        for row in range(y - side_y // 2, y - side_y // 2 + side_y):
            for column in range(x - side_x // 2, x - side_x // 2 + side_x):
                if 0 <= row < height and 0 <= column < width:
                    mixed[n, :, row, column] = images[permutation[n], :, row, column]
                    count += 1
        shares.append(1 - count / (height * width))
    return mixed, torch.tensor(shares)


def test_cutmix_equals_a_loop_over_the_pixels_of_the_box():
    images, permutation = torch.randn(40, 2, 9, 12), torch.randperm(40)
    lam = torch.rand(40)
    drawn = torch.rand(40, 2, generator=generator(5))
    centres = [(int(y * 9), int(x * 12)) for y, x in drawn.tolist()]
    expected = loop_cutmix(images, lam.tolist(), permutation, centres)
    torch.testing.assert_close(cutmix(images, lam, permutation, generator=generator(5)), expected)


def test_the_box_of_cutmix_has_the_area_of_the_paper_where_it_is_not_cut():
    centre = torch.tensor([[16, 16]])
    for lam in (0.0, 0.25, 0.4375, 0.75, 1.0):
        assert outside_box(centre, torch.tensor([lam]), 32, 32).mean().item() == pytest.approx(lam, abs=0.03)
    # With the centre in a corner, half of each side is outside.
    assert outside_box(centre * 0, torch.tensor([0.75]), 32, 32).mean() == 1 - (8 / 32) ** 2


def test_centres_of_cutmix_are_uniform_over_the_image():
    images = torch.zeros(4000, 1, 4, 4)
    images[2000:] = 1
    permutation = torch.arange(4000).roll(2000)
    # Sides √(1/16) of 4 px: the box is one pixel, the centre.
    mixed, share = cutmix(images, 15 / 16, permutation, generator=generator())
    assert torch.equal(share, torch.full((4000,), 15 / 16))
    frequency = (mixed[:2000].mean(0) + 1 - mixed[2000:].mean(0)) / 2
    assert (frequency - 1 / 16).abs().max() < 0.02


def test_saliencymix_keeps_the_most_salient_pixel_of_the_partner():
    images = torch.zeros(2, 3, 24, 24)
    images[1, :, 5, 17] = 3
    images[0, :, 12, 12] = -3
    # The box has sides √(1/9) of 24 px: 8, from 4 above the centre.
    mixed, share = saliencymix(images, 8 / 9, torch.tensor([1, 0]))
    assert torch.equal(share, torch.full((2,), 8 / 9))
    expected = images.clone()
    expected[0, :, 1:9, 13:21] = images[1, :, 1:9, 13:21]
    expected[1, :, 8:16, 8:16] = images[0, :, 8:16, 8:16]
    assert torch.equal(mixed, expected)


@pytest.mark.parametrize("size", [(8, 8), (7, 9), (1, 6)])
def test_fmix_shows_lam_of_the_pixels_and_the_brightest(size):
    grey = torch.randn(50, *size)
    lam = torch.linspace(0, 1, 50)
    masks = brightest(grey, lam).squeeze(1)
    pixels = size[0] * size[1]
    assert masks.sum((1, 2)).tolist() == [round(value * pixels) for value in lam.tolist()]
    for mask, image in zip(masks, grey, strict=True):
        if 0 < mask.mean() < 1:
            assert image[mask == 1].min() > image[mask == 0].max()


@pytest.mark.parametrize("size", [(8, 8), (5, 7)])
@pytest.mark.parametrize("decay", [0.0, 3.0])
def test_amplitudes_of_fmix_fall_with_frequency(size, decay):
    """Mean square of each Fourier coefficient over many draws, against frequency ** (−2 · decay)."""
    grey = low_frequency_images(20000, *size, decay, generator(), torch.device("cpu"))
    power = torch.fft.fft2(grey).abs().square().mean(0)
    for row in range(size[0]):
        for column in range(1, (size[1] + 1) // 2):  # excludes coefficients that symmetry makes real
            frequency = max(math.hypot(min(row, size[0] - row) / size[0], column / size[1]), 1 / max(size))
            assert power[row, column].item() == pytest.approx(2 * frequency ** (-2 * decay), rel=0.06)


@pytest.mark.parametrize("size", [(32, 32), (9, 15)])
def test_resizemix_pastes_what_interpolate_gives(size):
    images = torch.randn(30, 3, *size, dtype=torch.float64)
    permutation = torch.randperm(30)
    lam = torch.rand(30)
    mixed, share = resizemix(images, lam, permutation, generator=generator(7))
    place = torch.rand(30, 2, generator=generator(7)).tolist()
    for n in range(30):
        tau = 0.1 + 0.7 * (1 - lam[n].item())
        height, width = (max(round(tau * side), 1) for side in size)
        top, left = (
            int(place[n][axis] * (size[axis] - side + 1)) for axis, side in enumerate((height, width))
        )
        expected = images[n].clone()
        expected[:, top : top + height, left : left + width] = F.interpolate(
            images[permutation[n], None], (height, width), mode="bilinear", antialias=True
        )[0]
        torch.testing.assert_close(mixed[n], expected, atol=1e-5, rtol=1e-5)
        assert share[n].item() == pytest.approx(1 - height * width / (size[0] * size[1]))


def test_resizemix_draws_the_scale_of_its_paper_from_a_uniform_lam():
    _, share = resizemix(torch.zeros(11, 1, 100, 100), torch.linspace(0, 1, 11), torch.arange(11))
    torch.testing.assert_close((1 - share).sqrt(), torch.linspace(0.8, 0.1, 11), atol=1e-3, rtol=0)
    _, share = resizemix(torch.zeros(2, 1, 10, 10), 0.5, torch.arange(2), scale=(1.0, 1.0))
    assert torch.equal(share, torch.zeros(2))


def test_inter_intra_is_mixup_within_a_class_and_cutmix_across():
    images = torch.randn(6, 3, 8, 8)
    labels, permutation = torch.tensor([0, 0, 1, 1, 2, 2]), torch.tensor([1, 2, 3, 4, 4, 0])
    policy = partial(inter_intra, labels=labels, intra_lam=0.3)
    mixed, share = policy(images, 0.6, permutation, generator=generator(2))
    cut, cut_share = cutmix(images, 0.6, permutation, generator=generator(2))
    blended, _ = mixup(images, 0.3, permutation)
    within = torch.tensor([0, 2, 4])
    across = torch.tensor([1, 3, 5])
    assert torch.equal(mixed[within], blended[within])
    assert torch.equal(share[within], torch.full((3,), 0.3))
    assert torch.equal(mixed[across], cut[across])
    assert torch.equal(share[across], cut_share[across])

    swapped, share = policy(images, 0.6, permutation, inter="mixup", intra="cutmix", generator=generator(2))
    cut, cut_share = cutmix(images, 0.3, permutation, generator=generator(2))
    assert torch.equal(swapped[within], cut[within])
    assert torch.equal(share[within], cut_share[within])
    assert torch.equal(swapped[across], mixup(images, 0.6, permutation)[0][across])


def test_pairs_within_classes_are_uniform_and_as_many_as_asked_for():
    labels = torch.tensor([0, 1, 0, 1, 0, 2])
    other = torch.arange(6).roll(1)
    assert torch.equal(pair_within_classes(other, labels, share=0.0), other)
    drawn = torch.stack(
        [pair_within_classes(other, labels, share=1.0, generator=generator(seed)) for seed in range(900)]
    )
    assert torch.equal(labels[drawn], labels.expand(900, 6))
    assert torch.equal(drawn.sort(1).values, torch.arange(6).expand(900, 6))
    for partner in (0, 2, 4):
        assert (drawn[:, 0] == partner).float().mean().item() == pytest.approx(1 / 3, abs=0.06)
    own = pair_within_classes(torch.full((4000,), 7), torch.zeros(4000), share=0.3, generator=generator())
    assert (own != 7).float().mean().item() == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize(
    ("policy", "arguments", "message"),
    [
        (cutmix, dict(lam=1.2), r"lam must lie in \[0, 1\], got 1.2"),
        (mixup, dict(lam=torch.ones(3)), r"lam must be a scalar or \(2,\), got shape \(3,\)"),
        (mixup, dict(permutation=torch.arange(3)), r"permutation must be \(2,\), got \(3,\)"),
        (fmix, dict(permutation=torch.arange(3)), r"permutation must be \(2,\), got \(3,\)"),
        (saliencymix, dict(images=torch.zeros(2, 3, 4, 4).byte()), "images must be floats"),
        (fmix, dict(decay=-1), "decay must be at least 0, got -1 .config key model.policy.decay"),
        (resizemix, dict(scale=(0.0, 0.5)), r"scale must be a pair .* above 0 and up to 1, got \(0.0, 0.5\)"),
        (inter, dict(images=torch.zeros(2, 4)), "images must be floats"),
        (partial(inter_intra, labels=torch.arange(3), intra_lam=0), {}, r"labels must be \(2,\), got \(3,\)"),
        (
            partial(inter_intra, labels=torch.arange(2), intra_lam=0, intra="fmix"),
            {},
            "intra is 'fmix'; it must be one of cutmix, mixup",
        ),
    ],
)
def test_bad_input_is_one_sentence(policy, arguments, message):
    settings = dict(images=torch.zeros(2, 3, 4, 4), lam=0.5, permutation=torch.arange(2))
    with pytest.raises(ValueError, match=message):
        policy(**(settings | arguments))

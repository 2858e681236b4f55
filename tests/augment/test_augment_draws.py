"""The parameters drawn follow torchvision's distributions."""

import pytest
import torch
from scipy import stats
from torchvision import transforms

from ssl_ext.augment import (
    ORDERS,
    ColorJitter,
    GaussianBlur,
    RandomCrop,
    RandomEqualize,
    RandomGrayscale,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomRotation,
    RandomSharpness,
    RandomSolarize,
)

DRAWS = 4000
LEVEL = 1e-3  # a correct distribution fails for one in a thousand seeds; seeds are fixed


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def theirs(get_params, *arguments):
    torch.manual_seed(0)
    return torch.tensor([get_params(*arguments) for _ in range(DRAWS)])


def same(ours, other):
    return stats.ks_2samp(ours.double().numpy(), other.double().numpy()).pvalue > LEVEL


@pytest.mark.parametrize(
    ("height", "width", "scale", "ratio"),
    [
        (32, 32, (0.08, 1.0), (3 / 4, 4 / 3)),
        (28, 45, (0.5, 1.0), (3 / 4, 4 / 3)),
        (9, 7, (0.08, 0.4), (0.3, 2.0)),
        (30, 10, (0.8, 1.0), (3 / 4, 4 / 3)),  # only the fallback fits
        (10, 40, (0.3, 0.9), (0.5, 2.0)),  # often the fallback
    ],
)
def test_resized_crop_draws_torchvisions_boxes(height, width, scale, ratio):
    image = torch.empty(3, height, width)
    expected = theirs(transforms.RandomResizedCrop.get_params, image, scale, ratio)
    crop = RandomResizedCrop(8, scale=scale, ratio=ratio)
    params = crop.draw((DRAWS, 3, height, width), generator=generator())
    ours = torch.stack([params[k] for k in ("top", "left", "height", "width")], 1)
    assert (ours >= 0).all() and (ours[:, 2:] > 0).all()
    assert (ours[:, 0] + ours[:, 2] <= height).all() and (ours[:, 1] + ours[:, 3] <= width).all()
    for column in range(4):
        assert same(ours[:, column], expected[:, column])
    # Products test joint properties: area, and dependence of position on size.
    assert same(ours[:, 2] * ours[:, 3], expected[:, 2] * expected[:, 3])
    assert same(ours[:, 0] * ours[:, 2], expected[:, 0] * expected[:, 2])


@pytest.mark.parametrize(("height", "width"), [(30, 10), (10, 41), (20, 20)])
def test_resized_crop_falls_back_to_torchvisions_central_crop(height, width):
    # A scale of 1 with a ratio that never fits exactly: all ten draws fail.
    scale, ratio = (1.0, 1.0), (1.2, 1.3)
    image = torch.empty(3, height, width)
    expected = transforms.RandomResizedCrop.get_params(image, scale, ratio)
    params = RandomResizedCrop(8, scale, ratio).draw((7, 3, height, width), generator=generator())
    for name, value in zip(("top", "left", "height", "width"), expected, strict=True):
        assert params[name].tolist() == [value] * 7


def test_jitter_draws_torchvisions_factors():
    ranges = [(0.6, 1.4), (0.0, 2.5), (0.3, 0.9), (-0.1, 0.1)]
    torch.manual_seed(0)
    expected = [transforms.ColorJitter.get_params(*ranges) for _ in range(DRAWS)]
    jitter = ColorJitter(0.4, 1.5, (0.3, 0.9), 0.1)
    assert torch.allclose(torch.tensor(list(jitter.ranges.values())), torch.tensor(ranges))
    params = jitter.draw((DRAWS, 3, 8, 8), generator=generator())
    for place, name in enumerate(("brightness", "contrast", "saturation", "hue"), 1):
        assert same(params[name], torch.tensor([draw[place] for draw in expected]))


def test_jitter_draws_every_order_equally_often():
    assert len(set(ORDERS)) == 24
    jitter = ColorJitter(0.4)
    params = jitter.draw((24_000, 3, 8, 8), generator=generator())
    counts = torch.bincount(params["order"], minlength=24)
    assert stats.chisquare(counts.numpy()).pvalue > LEVEL


@pytest.mark.parametrize("strength", [0.3, 1.0, 2.5])
def test_jitter_ranges_are_torchvisions(strength):
    ours = ColorJitter(strength, strength, strength, min(strength, 0.5)).ranges
    other = transforms.ColorJitter(strength, strength, strength, min(strength, 0.5))
    for name, value in ours.items():
        assert value == pytest.approx(getattr(other, name))


def test_blur_and_rotation_are_uniform():
    torch.manual_seed(0)
    sigma = GaussianBlur(3, (0.1, 2.0)).draw((DRAWS, 3, 8, 8), generator=generator())["sigma"]
    assert same(sigma, theirs(transforms.GaussianBlur.get_params, 0.1, 2.0))
    angle = RandomRotation(30).draw((DRAWS, 3, 8, 8), generator=generator())["angle"]
    assert same(angle, theirs(transforms.RandomRotation.get_params, (-30, 30)))


def test_padded_crop_reaches_every_place_equally_often():
    params = RandomCrop(8, padding=2).draw((5000, 3, 8, 10), generator=generator())
    for name, places in (("top", 5), ("left", 7)):
        counts = torch.bincount(params[name], minlength=places)
        assert len(counts) == places
        assert stats.chisquare(counts.numpy()).pvalue > LEVEL


@pytest.mark.parametrize("p", [0.0, 0.2, 0.8, 1.0])
@pytest.mark.parametrize(
    "operation",
    [
        RandomHorizontalFlip,
        RandomGrayscale,
        RandomEqualize,
        lambda p: RandomSharpness(p=p),
        lambda p: RandomSolarize(p=p),
        lambda p: ColorJitter(0.4, p=p),
        lambda p: GaussianBlur(3, p=p),
    ],
)
def test_probability(operation, p):
    active = operation(p).draw((DRAWS, 3, 8, 8), generator=generator())["active"]
    if p in (0.0, 1.0):
        assert active.all() if p else not active.any()
    assert stats.binomtest(int(active.sum()), DRAWS, p).pvalue > LEVEL


def test_samples_are_drawn_independently():
    params = ColorJitter(0.4, 0.4).draw((DRAWS, 3, 8, 8), generator=generator())
    pairs = [
        (params["brightness"][:-1], params["brightness"][1:]),
        (params["brightness"], params["contrast"]),
    ]
    for one, other in pairs:
        assert stats.pearsonr(one.numpy(), other.numpy()).pvalue > LEVEL

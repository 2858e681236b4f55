"""Mask loss and mask adjustment against loops and closed forms."""

import pytest
import torch

from ssl_ext.mixups import adjust_mask, mask_loss


def masks(count=6, *, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 1, 3, 5, dtype=torch.float64, generator=generator) ** torch.linspace(
        0.2, 5, count, dtype=torch.float64
    ).view(-1, 1, 1, 1)


def expected_loss(mask, lams, margin, variance_weight):
    total = 0.0
    for sample, lam in zip(mask, lams, strict=True):
        pixels = sample.flatten().tolist()
        mean = sum(pixels) / len(pixels)
        variance = sum((pixel - mean) ** 2 for pixel in pixels) / len(pixels)
        total += max(abs(lam - mean) - margin, 0) - variance_weight * variance
    return total / len(mask)


@pytest.mark.parametrize(("margin", "variance_weight"), [(0.1, 1.0), (0.0, 0.3), (0.4, 0.0)])
def test_mask_loss_equals_loops(margin, variance_weight):
    mask, lams = masks(), torch.linspace(0.05, 0.95, 6, dtype=torch.float64)
    found = mask_loss(mask, lams, margin=margin, variance_weight=variance_weight)
    assert found.item() == pytest.approx(
        expected_loss(mask, lams.tolist(), margin, variance_weight), abs=1e-12
    )
    found = mask_loss(mask, 0.3, margin=margin, variance_weight=variance_weight)
    assert found.item() == pytest.approx(expected_loss(mask, [0.3] * 6, margin, variance_weight), abs=1e-12)


def test_mask_loss_has_the_gradient_of_finite_differences():
    mask = masks().requires_grad_()
    lams = torch.linspace(0.05, 0.95, 6, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda mask: mask_loss(mask, lams), mask)


def test_a_mask_that_chooses_is_better_than_a_blend_of_the_same_mean():
    chosen = torch.tensor([0.0, 1.0, 1.0, 0.0]).view(1, 1, 2, 2)
    assert mask_loss(chosen, 0.5) == -0.25
    assert mask_loss(torch.full_like(chosen, 0.5), 0.5) == 0


@pytest.mark.parametrize("lam", [0.0, 0.1, 0.5, 0.77, 1.0])
def test_adjusted_masks_have_mean_lam_and_stay_masks(lam):
    mask = torch.cat([masks(), torch.zeros(1, 1, 3, 5), torch.ones(1, 1, 3, 5)]).double()
    found = adjust_mask(mask, lam)
    torch.testing.assert_close(
        found.mean((1, 2, 3)), torch.full((8,), lam, dtype=torch.float64), rtol=0, atol=1e-12
    )
    assert found.min() >= 0
    assert found.max() <= 1
    order = mask.flatten(1).argsort(1)
    assert (found.flatten(1).gather(1, order).diff(dim=1) >= -1e-15).all()


def test_each_mask_is_adjusted_to_its_own_lam_by_its_own_rule():
    mask = torch.tensor([[0.2, 0.6], [0.2, 0.6], [0.1, 0.3]]).double().view(3, 1, 1, 2)
    found = adjust_mask(mask, torch.tensor([0.3, 0.7, 0.2]))
    # μ = 0.4 > 0.3: s · 3/4. μ = 0.4 < 0.7: 1 − (1 − s) / 2. μ = λ: unchanged.
    expected = torch.tensor([[0.15, 0.45], [0.6, 0.8], [0.1, 0.3]]).double().view(3, 1, 1, 2)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-7)


def test_the_pair_sums_to_one_after_adjusting_either_side():
    mask, lams = masks(), torch.linspace(0.1, 0.9, 6, dtype=torch.float64)
    torch.testing.assert_close(
        adjust_mask(mask, lams) + adjust_mask(1 - mask, 1 - lams), torch.ones_like(mask)
    )


def test_half_precision_masks_are_treated_in_float32():
    mask = masks().half()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert adjust_mask(mask, 0.3).dtype == mask_loss(mask, 0.3).dtype == torch.float32


@pytest.mark.parametrize("function", [mask_loss, adjust_mask])
def test_bad_shapes_are_refused(function):
    with pytest.raises(ValueError, match=r"maps must be \(N, C, H, W\), got \(3, 5\)"):
        function(torch.rand(3, 5), 0.5)
    with pytest.raises(ValueError, match=r"lam must be a scalar or \(6,\), got \(6, 1\)"):
        function(masks(), torch.rand(6, 1))

"""Standardisation: closed forms, precision and errors."""

import pytest
import torch

from ssl_ext.losses import standardize, world_size


def test_equals_the_definition_in_float64():
    z = torch.randn(7, 3, dtype=torch.float64) * 4 + 2
    eps = 0.3
    for d in range(3):
        mean = sum(z[:, d]) / 7
        variance = sum((v - mean) ** 2 for v in z[:, d]) / 7
        expected = (z[:, d] - mean) / (variance + eps) ** 0.5
        torch.testing.assert_close(standardize(z, eps=eps)[:, d], expected, rtol=0, atol=1e-12)


def test_dtypes():
    z = torch.randn(4, 3)
    assert standardize(z.bfloat16()).dtype == torch.float32
    assert standardize(z).dtype == torch.float32
    assert standardize(z.double()).dtype == torch.float64


def test_large_offset_keeps_the_variance():
    # A variance from E[z²] - E[z]² would be off by 6 % here.
    shifted = (torch.randn(64, 5, dtype=torch.float64) + 1000.0).float()
    expected = standardize(shifted.double()).float()
    torch.testing.assert_close(standardize(shifted), expected, rtol=0, atol=1e-3)


def test_constant_dimension_gives_zeros_and_a_finite_gradient():
    z = torch.full((4, 2), 3.0, requires_grad=True)
    out = standardize(z)
    out.square().sum().backward()
    torch.testing.assert_close(out, torch.zeros(4, 2), rtol=0, atol=1e-4)
    assert torch.isfinite(z.grad).all()


def test_gradcheck():
    z = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(standardize, (z,))


@pytest.mark.parametrize(
    ("z", "eps", "message"),
    [
        (torch.zeros(1, 4), 1e-5, "at least 2"),
        (torch.zeros(4), 1e-5, r"\(N, D\)"),
        (torch.zeros(2, 3, 4), 1e-5, r"\(2, 3, 4\)"),
        (torch.zeros(4, 2), 0.0, "eps must be > 0"),
    ],
)
def test_bad_input(z, eps, message):
    with pytest.raises(ValueError, match=message):
        standardize(z, eps=eps)


def test_world_size_without_process_group():
    assert world_size() == 1

"""Barlow Twins terms against a loop written from the equations, closed forms and invariances."""

import math

import pytest
import torch

from ssl_ext.losses import barlow_twins_terms, cross_correlation


def loop_correlation(z1, z2, eps):
    """Eq. 4 on centred embeddings, eps in the root, one entry at a time."""
    n, dims = z1.shape
    z1, z2 = z1.tolist(), z2.tolist()

    def column(z, d):
        mean = math.fsum(row[d] for row in z) / n
        std = math.sqrt(math.fsum((row[d] - mean) ** 2 for row in z) / n + eps)
        return [(row[d] - mean) / std for row in z]

    return [
        [math.fsum(a * b for a, b in zip(column(z1, i), column(z2, j), strict=True)) / n for j in range(dims)]
        for i in range(dims)
    ]


def loop_terms(z1, z2, eps):
    c = loop_correlation(z1, z2, eps)
    d = range(len(c))
    invariance = math.fsum((1 - c[i][i]) ** 2 for i in d)
    redundancy = math.fsum(c[i][j] ** 2 for i in d for j in d if i != j)
    return invariance, redundancy


@pytest.mark.parametrize("shape", [(2, 3), (9, 4), (6, 1)])
@pytest.mark.parametrize("eps", [1e-5, 0.2])
def test_equals_a_slow_loop(shape, eps):
    z1, z2 = torch.randn(2, *shape, dtype=torch.float64) * 3 + 1
    terms = torch.stack(barlow_twins_terms(z1, z2, eps=eps))
    expected = torch.tensor(loop_terms(z1, z2, eps), dtype=torch.float64)
    torch.testing.assert_close(terms, expected, rtol=0, atol=1e-9)
    matrix = torch.tensor(loop_correlation(z1, z2, eps), dtype=torch.float64)
    torch.testing.assert_close(cross_correlation(z1, z2, eps=eps), matrix, rtol=0, atol=1e-9)


def test_gradcheck():
    z1, z2 = torch.randn(2, 5, 3, dtype=torch.float64)
    z1.requires_grad_(), z2.requires_grad_()
    assert torch.autograd.gradcheck(barlow_twins_terms, (z1, z2))


def test_affine_change_of_each_dimension_changes_nothing():
    z1, z2 = torch.randn(2, 12, 4, dtype=torch.float64)
    scale, shift = torch.rand(4, dtype=torch.float64) + 0.5, torch.randn(4, dtype=torch.float64)
    eps = 1e-14
    before = barlow_twins_terms(z1, z2, eps=eps)
    after = barlow_twins_terms(z1 * scale + shift, z2 * 7 - shift, eps=eps)
    torch.testing.assert_close(after, before, rtol=0, atol=1e-9)


def test_order_of_the_batch_and_of_the_views_changes_nothing():
    z1, z2 = torch.randn(2, 12, 4, dtype=torch.float64)
    order = torch.randperm(12)
    expected = barlow_twins_terms(z1, z2)
    torch.testing.assert_close(barlow_twins_terms(z1[order], z2[order]), expected)
    torch.testing.assert_close(barlow_twins_terms(z2, z1), expected)


def test_equal_views_have_no_invariance_term():
    z = torch.randn(16, 4, dtype=torch.float64)
    invariance, redundancy = barlow_twins_terms(z, z, eps=1e-14)
    assert invariance < 1e-20
    correlation = torch.corrcoef(z.T)
    expected = correlation.square().sum() - 4
    torch.testing.assert_close(redundancy, expected, rtol=0, atol=1e-9)


def test_two_samples_give_correlations_of_one():
    # Standardised, a batch of two is +-1 in every dimension: C_ij = +-1 everywhere.
    z1 = torch.tensor([[0.0, 5.0, 1.0], [1.0, -3.0, 2.0]], dtype=torch.float64)
    z2 = torch.tensor([[2.0, 4.0, 9.0], [7.0, 1.0, 1.0]], dtype=torch.float64)
    expected = torch.tensor([[1.0, -1.0, -1.0], [-1.0, 1.0, 1.0], [1.0, -1.0, -1.0]], dtype=torch.float64)
    torch.testing.assert_close(cross_correlation(z1, z2, eps=1e-14), expected, rtol=0, atol=1e-9)
    invariance, redundancy = barlow_twins_terms(z1, z2, eps=1e-14)
    assert invariance.item() == pytest.approx(4.0, abs=1e-9)
    assert redundancy.item() == pytest.approx(6.0, abs=1e-9)


def test_autocast_changes_nothing():
    z1, z2 = torch.randn(2, 32, 16)
    expected = barlow_twins_terms(z1, z2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = barlow_twins_terms(z1, z2)
        half = barlow_twins_terms(z1.bfloat16(), z2.bfloat16())
    assert torch.equal(torch.stack(terms), torch.stack(expected))
    rounded = barlow_twins_terms(z1.bfloat16().float(), z2.bfloat16().float())
    assert torch.equal(torch.stack(half), torch.stack(rounded))


@pytest.mark.parametrize("shape", [(4, 3), (3, 2), (4,)])
def test_shapes_must_match(shape):
    with pytest.raises(ValueError, match="one shape"):
        barlow_twins_terms(torch.zeros(4, 2), torch.zeros(shape))


def test_one_sample_is_refused():
    with pytest.raises(ValueError, match="at least 2"):
        barlow_twins_terms(torch.zeros(1, 2), torch.zeros(1, 2))

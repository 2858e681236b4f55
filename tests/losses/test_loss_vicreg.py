"""VICReg's terms against a loop written from the equations, closed forms and invariances."""

import math

import pytest
import torch

from ssl_ext.losses import vicreg_terms


def loop_terms(z1, z2):
    """Eq. 1 to 5 of the paper, one number at a time; half the variance term of each view."""
    n, dims = z1.shape
    z1, z2 = z1.tolist(), z2.tolist()
    invariance = math.fsum((z1[i][d] - z2[i][d]) ** 2 for i in range(n) for d in range(dims)) / (n * dims)
    variance = covariance = 0.0
    for z in (z1, z2):
        means = [math.fsum(row[d] for row in z) / n for d in range(dims)]

        def c(i, j, z=z, means=means):
            return math.fsum((row[i] - means[i]) * (row[j] - means[j]) for row in z) / (n - 1)

        variance += math.fsum(max(0.0, 1 - math.sqrt(c(d, d) + 1e-4)) for d in range(dims)) / dims / 2
        covariance += math.fsum(c(i, j) ** 2 for i in range(dims) for j in range(dims) if i != j) / dims
    return invariance, variance, covariance


@pytest.mark.parametrize("shape", [(2, 3), (9, 4), (6, 1)])
def test_equals_a_slow_loop(shape):
    z1, z2 = torch.randn(2, *shape, dtype=torch.float64) * 0.8 + 1
    expected = torch.tensor(loop_terms(z1, z2), dtype=torch.float64)
    torch.testing.assert_close(torch.stack(vicreg_terms(z1, z2)), expected, rtol=0, atol=1e-10)


def test_gradcheck_with_active_and_inactive_hinges():
    z1, z2 = torch.randn(2, 6, 4, dtype=torch.float64) * torch.tensor([0.3, 0.5, 3.0, 5.0]).double()
    assert 0 < vicreg_terms(z1, z2)[1] < 0.5
    assert torch.autograd.gradcheck(vicreg_terms, (z1.requires_grad_(), z2.requires_grad_()))


def test_orthogonal_design_has_known_terms():
    hadamard = torch.tensor([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=torch.float64)
    scale = torch.tensor([0.3, 0.5, 2.0], dtype=torch.float64)
    z = hadamard * scale
    std = (scale.square() * 4 / 3 + 1e-4).sqrt()
    invariance, variance, covariance = vicreg_terms(z, z + 3)
    assert invariance.item() == pytest.approx(9)
    assert variance.item() == pytest.approx((1 - std).clamp(min=0).mean().item())
    assert covariance.item() == pytest.approx(0, abs=1e-12)
    # Two equal columns: both off-diagonal entries are the variance 4/3, in one view of the two.
    doubled = hadamard[:, [0, 0]]
    assert vicreg_terms(doubled, hadamard[:, :2])[2].item() == pytest.approx(2 * (4 / 3) ** 2 / 2)


def test_collapsed_embeddings_have_the_largest_variance_term_and_a_finite_gradient():
    z = torch.ones(5, 3, requires_grad=True)
    invariance, variance, covariance = vicreg_terms(z, z.detach())
    assert (invariance, covariance) == (0, 0)
    assert variance.item() == pytest.approx(1 - 0.01)
    (gradient,) = torch.autograd.grad(invariance + variance + covariance, z)
    assert gradient.isfinite().all()


def test_shifts_and_the_order_of_samples_and_views_change_nothing_but_the_invariance():
    z1, z2 = torch.randn(2, 12, 4, dtype=torch.float64)
    order = torch.randperm(12)
    before, after = vicreg_terms(z1, z2), vicreg_terms(z2[order] - 2, z1[order] + 5)
    torch.testing.assert_close(after[1:], before[1:], rtol=0, atol=1e-10)
    torch.testing.assert_close(vicreg_terms(z2[order], z1[order]), before, rtol=0, atol=1e-10)


def test_half_precision_inputs_are_computed_in_float32():
    z = (torch.randn(2, 64, 8) * 300).half()  # squares overflow in half precision
    with torch.autocast("cpu", torch.bfloat16):
        terms = vicreg_terms(z[0], z[1])
    assert all(term.dtype == torch.float32 for term in terms)
    torch.testing.assert_close(terms, vicreg_terms(*z.float()))


def test_bad_batches_are_refused():
    with pytest.raises(ValueError, match="batch of 1 sample.*train_dataloader.batch_size"):
        vicreg_terms(torch.ones(1, 3), torch.ones(1, 3))
    with pytest.raises(ValueError, match=r"of one shape, got \(4, 3\) and \(4, 2\)"):
        vicreg_terms(torch.ones(4, 3), torch.ones(4, 2))

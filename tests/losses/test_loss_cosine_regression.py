"""Cosine regression against its equation, its gradient, and its limits."""

import pytest
import torch

from ssl_ext.losses import cosine_regression


def pair(count=6, dims=5):
    return torch.randn(2, count, dims, dtype=torch.float64, generator=torch.manual_seed(0))


def by_loop(prediction, target):
    """Mean of 2 - 2 cos over the rows, by a loop."""
    total = 0.0
    for p, z in zip(prediction.tolist(), target.tolist(), strict=True):
        product = sum(a * b for a, b in zip(p, z, strict=True))
        lengths = sum(a * a for a in p) ** 0.5 * sum(b * b for b in z) ** 0.5
        total += 2 - 2 * product / lengths
    return total / len(prediction)


def test_value_is_the_equation():
    p, z = pair()
    assert cosine_regression(p, z).item() == pytest.approx(by_loop(p, z), rel=1e-12)
    assert cosine_regression(p.float(), z.float()).item() == pytest.approx(by_loop(p, z), rel=1e-5)


def test_it_is_the_squared_distance_on_the_sphere_whatever_the_lengths():
    p, z = pair()
    unit_p, unit_z = p / p.norm(dim=1, keepdim=True), z / z.norm(dim=1, keepdim=True)
    expected = (unit_p - unit_z).square().sum(1).mean()
    scales = torch.tensor([1e-3, 0.1, 1.0, 7.0, 100.0, 1e4], dtype=torch.float64)[:, None]
    torch.testing.assert_close(cosine_regression(scales * p, z / scales), expected)


def test_equal_opposite_and_orthogonal_directions():
    p = pair()[0]
    orthogonal = torch.stack([-p[:, 1], p[:, 0], *torch.zeros(3, len(p), dtype=p.dtype)], dim=1)
    for target, expected in ((2 * p, 0.0), (-p, 4.0), (orthogonal, 2.0)):
        assert cosine_regression(p, target).item() == pytest.approx(expected, abs=1e-12)


def test_gradient_by_finite_differences():
    p, z = pair()
    assert torch.autograd.gradcheck(lambda p: cosine_regression(p, z), p.requires_grad_())


def test_the_target_receives_no_gradient():
    p, z = pair().requires_grad_()
    weight = torch.ones((), dtype=torch.float64, requires_grad=True)
    cosine_regression(p, weight * z).backward()
    assert weight.grad is None
    # Moving the prediction along its own direction changes nothing.
    same = pair()[0].requires_grad_()
    cosine_regression(same, z).backward()
    torch.testing.assert_close((same.grad * same).sum(1), torch.zeros(len(same), dtype=same.dtype))


@pytest.mark.parametrize("zero", [(0,), (1,), (0, 1)], ids=["prediction", "target", "both"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_zero_vectors_have_cosine_zero_and_a_finite_gradient(zero, dtype):
    rows = pair().to(dtype)
    for index in zero:
        rows[index, 2] = 0
    p, z = rows[0].clone().requires_grad_(), rows[1]
    others = [i for i in range(len(p)) if i != 2]
    loss = cosine_regression(p, z)
    loss.backward()
    expected = (by_loop(p[others], z[others]) * len(others) + 2) / len(p)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert torch.isfinite(p.grad).all()


def test_autocast_changes_nothing():
    p, z = pair(count=32, dims=64).float()
    expected = cosine_regression(p, z)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(cosine_regression(p, z), expected)
        half = cosine_regression(p.bfloat16(), z.bfloat16())
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(by_loop(p.bfloat16(), z.bfloat16()), rel=1e-5)


@pytest.mark.parametrize(
    ("shape_p", "shape_z", "found"),
    [((4, 3), (4, 2), r"\(4, 3\) and \(4, 2\)"), ((4,), (4,), r"\(4,\)"), ((1, 3), (4, 3), r"\(1, 3\) and")],
)
def test_shapes_that_do_not_fit_are_named(shape_p, shape_z, found):
    with pytest.raises(ValueError, match=found):
        cosine_regression(torch.ones(shape_p), torch.ones(shape_z))

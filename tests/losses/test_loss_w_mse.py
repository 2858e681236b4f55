"""W-MSE's loss against a slow loop in NumPy, closed forms and invariances."""

import numpy as np
import pytest
import torch

from ssl_ext.losses import w_mse, whiten


def orders(count, repeats=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randperm(count, generator=generator) for _ in range(repeats)])


def slow(views, permutations, size, eps=0.0):
    """Sub-batch by sub-batch and pair by pair, by an inverse of the Cholesky factor."""
    found = []
    for permutation in permutations.tolist():
        for start in range(0, len(permutation), size):
            white = []
            for view in views:
                part = view[permutation[start : start + size]].numpy()
                covariance = (1 - eps) * np.cov(part, rowvar=False) + eps * np.eye(part.shape[1])
                factor = np.linalg.inv(np.linalg.cholesky(covariance))
                white.append([factor @ (row - part.mean(0)) for row in part])
            for a in range(len(views)):
                for b in range(a):
                    for x, y in zip(white[a], white[b], strict=True):
                        x, y = x / np.linalg.norm(x), y / np.linalg.norm(y)
                        found.append(((x - y) ** 2).sum())
    return sum(found) / len(found)


@pytest.mark.parametrize(
    ("count", "dim", "size", "views", "repeats", "eps"),
    [(6, 2, 6, 2, 1, 0.0), (12, 3, 4, 2, 3, 0.0), (10, 2, 5, 4, 2, 0.1)],
)
def test_equals_a_slow_loop(count, dim, size, views, repeats, eps):
    torch.manual_seed(0)
    z = torch.randn(views, count, dim, dtype=torch.float64) @ torch.randn(dim, dim).double() + 2
    permutations = orders(count, repeats)
    found = w_mse(*z, permutations=permutations, size=size, eps=eps)
    assert found.item() == pytest.approx(slow(z, permutations, size, eps), abs=1e-10)


def test_whitened_embeddings_have_the_identity_as_covariance():
    z = torch.randn(2, 3, 9, 4, dtype=torch.float64) @ torch.randn(4, 4).double() + 1
    white = whiten(z)
    assert white.mean(2).abs().max() < 1e-12
    for batch in white.flatten(0, 1):
        torch.testing.assert_close(batch.T.cov(), torch.eye(4, dtype=torch.float64))


def test_lower_triangular_maps_of_a_view_change_nothing():
    z1, z2 = torch.randn(2, 12, 3, dtype=torch.float64)
    settings = dict(permutations=orders(12), size=6)
    changed = z1 @ torch.tensor([[2.0, 0, 0], [0.3, 0.5, 0], [-1, 4, 1]]).double().T + 7
    torch.testing.assert_close(w_mse(changed, z2, **settings), w_mse(z1, z2, **settings))
    assert w_mse(z1, changed, **settings).item() == pytest.approx(0, abs=1e-12)
    assert w_mse(z1, -z1, **settings).item() == pytest.approx(4)


def test_gradcheck():
    z = torch.randn(2, 8, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: w_mse(*z, permutations=orders(8, 2), size=4), (z,))


def test_collapsed_embeddings_are_not_finite_and_eps_repairs_them():
    z = torch.ones(8, 2)
    assert w_mse(z, z, permutations=orders(8), size=4).isnan()
    assert w_mse(z, z, permutations=orders(8), size=4, eps=0.1).isfinite()


@pytest.mark.parametrize(
    ("shape", "views", "size", "message"),
    [
        ((8, 2), 1, 4, "two views or more, got 1"),
        ((8, 4), 2, 4, "covariance of 4 embeddings of 4 dimensions is singular"),
        ((8, 2), 2, 3, "joined batch of 8 images cannot be cut into sub-batches of 3"),
    ],
)
def test_bad_input_is_named(shape, views, size, message):
    with pytest.raises(ValueError, match=message):
        w_mse(*torch.randn(views, *shape), permutations=orders(shape[0]), size=size)

"""TriMix terms against loops written from Eq. 6 to 10, closed forms and invariances."""

import math

import pytest
import torch

from ssl_ext.losses import (
    barlow_twins_terms,
    self_consistency_loss,
    standardize,
    trimix_terms,
    virtual_embedding_loss,
    virtual_embedding_terms,
    virtual_probabilities,
    virtual_similarity,
    virtual_targets,
)

EPS = 1e-5


def loop_standardize(rows):
    """Rows of a matrix (list of lists), each column with mean 0 and variance 1."""
    columns = []
    for column in zip(*rows, strict=True):
        mean = math.fsum(column) / len(column)
        std = math.sqrt(math.fsum((v - mean) ** 2 for v in column) / len(column) + EPS)
        columns.append([(v - mean) / std for v in column])
    return [list(row) for row in zip(*columns, strict=True)]


def loop_normalised(z, z_virtual, feature_norm):
    rows, virtual = loop_standardize(z.tolist()), loop_standardize(z_virtual.tolist())
    if feature_norm:
        transposed = [list(column) for column in zip(*virtual, strict=True)]
        virtual = [list(row) for row in zip(*loop_standardize(transposed), strict=True)]
    return rows, virtual


def loop_probabilities(z, z_virtual, temperature, feature_norm):
    rows, virtual = loop_normalised(z, z_virtual, feature_norm)

    def cosine(a, b):
        dot = math.fsum(x * y for x, y in zip(a, b, strict=True))
        return dot / math.sqrt(math.fsum(x * x for x in a) * math.fsum(y * y for y in b))

    weights = [[math.exp(cosine(a, b) / temperature) for b in virtual] for a in rows]
    return [[w / math.fsum(row) for w in row] for row in weights]


def loop_virtual_loss(z, z_virtual, lam, temperature, feature_norm):
    p = loop_probabilities(z, z_virtual, temperature, feature_norm)
    b = len(p)
    total = 0.0
    for m in range(b):
        for n in range(b):
            target = lam * (m == n) + (1 - lam) * (m + n == b - 1)
            total += abs(p[m][n] - target)
    return total / b**2


def loop_consistency(z, z_virtual, lam, feature_norm):
    rows, virtual = loop_normalised(z, z_virtual, feature_norm)
    b, dims = len(rows), len(rows[0])
    return math.fsum(
        abs(lam * rows[m][d] + (1 - lam) * rows[b - 1 - m][d] - virtual[m][d])
        for m in range(b)
        for d in range(dims)
    ) / (b * dims)


def embeddings(batch=6, dims=5, count=2):
    return list(torch.randn(count, batch, dims, dtype=torch.float64) * 2 + 1)


@pytest.mark.parametrize("batch", [2, 5, 6])
@pytest.mark.parametrize("feature_norm", [True, False])
@pytest.mark.parametrize(("lam", "temperature"), [(0.3, 2.0), (1.0, 0.1), (0.0, 0.5)])
def test_equals_slow_loops(batch, feature_norm, lam, temperature):
    z, z_virtual = embeddings(batch)
    keywords = {"temperature": temperature, "feature_norm": feature_norm}
    p = torch.tensor(loop_probabilities(z, z_virtual, **keywords), dtype=torch.float64)
    torch.testing.assert_close(virtual_probabilities(z, z_virtual, **keywords), p, rtol=0, atol=1e-9)
    loss, p_lam, p_complement = virtual_embedding_terms(z, z_virtual, lam, **keywords)
    assert loss.item() == pytest.approx(loop_virtual_loss(z, z_virtual, lam, **keywords), abs=1e-9)
    assert torch.equal(virtual_embedding_loss(z, z_virtual, lam, **keywords), loss)
    diagonal = [p[m, m].item() for m in range(batch)]
    anti_diagonal = [p[m, batch - 1 - m].item() for m in range(batch)]
    assert p_lam.item() == pytest.approx(sum(diagonal) / batch, abs=1e-9)
    assert p_complement.item() == pytest.approx(sum(anti_diagonal) / batch, abs=1e-9)
    consistency = self_consistency_loss(z, z_virtual, lam, feature_norm=feature_norm)
    expected = loop_consistency(z, z_virtual, lam, feature_norm)
    assert consistency.item() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("feature_norm", [True, False])
def test_joined_terms_equal_the_separate_functions(feature_norm):
    z1, z2, z_virtual = (z.requires_grad_() for z in embeddings(count=3))
    lam, eps = torch.tensor(0.7), 0.01
    keywords = {"feature_norm": feature_norm, "eps": eps}
    joined = trimix_terms(z1, z2, z_virtual, lam, temperature=0.5, **keywords)
    separate = (
        *barlow_twins_terms(z1, z2, eps=eps),
        *virtual_embedding_terms(z1, z_virtual, lam, temperature=0.5, **keywords),
        self_consistency_loss(z1, z_virtual, lam, **keywords),
    )
    names = ("invariance", "redundancy", "virtual", "p_lam", "p_complement", "consistency")
    for name, value in zip(names, separate, strict=True):
        torch.testing.assert_close(getattr(joined, name), value, rtol=0, atol=1e-12, msg=name)
    assert not joined.p_lam.requires_grad and not joined.p_complement.requires_grad
    inputs = (z1, z2, z_virtual)
    total = joined.invariance + joined.redundancy + joined.virtual + joined.consistency
    expected = separate[0] + separate[1] + separate[2] + separate[5]
    torch.testing.assert_close(torch.autograd.grad(total, inputs), torch.autograd.grad(expected, inputs))


@pytest.mark.parametrize("feature_norm", [True, False])
def test_gradcheck(feature_norm):
    z, z_virtual = (z.requires_grad_() for z in embeddings(batch=5, dims=4))

    def losses(z, z_virtual):
        return (
            virtual_embedding_loss(z, z_virtual, 0.3, temperature=0.5, feature_norm=feature_norm),
            self_consistency_loss(z, z_virtual, 0.3, feature_norm=feature_norm),
        )

    assert torch.autograd.gradcheck(losses, (z, z_virtual))


def test_targets():
    expected = [
        [0.3, 0, 0, 0, 0.7],
        [0, 0.3, 0, 0.7, 0],
        [0, 0, 1.0, 0, 0],
        [0, 0.7, 0, 0.3, 0],
        [0.7, 0, 0, 0, 0.3],
    ]
    targets = virtual_targets(5, 0.3, device="cpu", dtype=torch.float64)
    torch.testing.assert_close(targets, torch.tensor(expected, dtype=torch.float64))
    rotated = torch.rot90(torch.eye(4))
    tensor_lam = virtual_targets(4, torch.tensor(0.25), dtype=torch.float32)
    torch.testing.assert_close(tensor_lam, 0.25 * torch.eye(4) + 0.75 * rotated)


def test_orthogonal_embeddings_in_closed_form():
    # Rows of a Hadamard matrix without its first column are standardised already and their
    # cosines are -1/3, so every row of P is a permutation of softmax((1, -1/3, -1/3, -1/3) / τ).
    h = torch.tensor([[1.0, 1, 1], [-1, 1, -1], [1, -1, -1], [-1, -1, 1]], dtype=torch.float64)
    p = virtual_probabilities(h, h, temperature=0.5, feature_norm=False, eps=1e-14)
    high = math.exp(2) / (math.exp(2) + 3 * math.exp(-2 / 3))
    expected = torch.full((4, 4), (1 - high) / 3, dtype=torch.float64).fill_diagonal_(high)
    torch.testing.assert_close(p, expected, rtol=0, atol=1e-9)
    loss = virtual_embedding_loss(h, h, 1.0, temperature=0.5, feature_norm=False, eps=1e-14)
    assert loss.item() == pytest.approx(2 * (1 - high) / 4, abs=1e-9)


def test_unmixed_batch_is_consistent():
    z = embeddings()[0]
    assert self_consistency_loss(z, z, 1.0, feature_norm=False).item() == 0.0
    assert self_consistency_loss(z, z.flip(0), 0.0, feature_norm=False).item() < 1e-15


def test_two_samples_in_closed_form():
    # Standardised: +-1 in every dimension, so cosines are +-1 for equal signs.
    z = torch.tensor([[3.0, 5.0], [1.0, 2.0]], dtype=torch.float64)
    similarity = virtual_similarity(z, z, feature_norm=False, eps=1e-14)
    expected = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64)
    torch.testing.assert_close(similarity, expected, rtol=0, atol=1e-9)
    # z̃ = (2λ - 1)·ẑ, the virtual embedding is ẑ: the mean distance is 2 - 2λ.
    loss = self_consistency_loss(z, z, 0.8, feature_norm=False, eps=1e-14)
    assert loss.item() == pytest.approx(0.4, abs=1e-9)


def test_affine_change_of_each_dimension_changes_nothing():
    z, z_virtual = embeddings()
    scale = torch.rand(5, dtype=torch.float64) + 0.5
    expected = virtual_embedding_loss(z, z_virtual, 0.3, eps=1e-14)
    changed = virtual_embedding_loss(z * scale + 3, z_virtual / scale - 1, 0.3, eps=1e-14)
    torch.testing.assert_close(changed, expected, rtol=0, atol=1e-10)


def test_pair_symmetric_permutation_changes_nothing():
    # A permutation that commutes with the reversal preserves the pairs.
    z1, z2, z_virtual = embeddings(count=3)
    order = torch.tensor([2, 5, 1, 4, 0, 3])
    assert torch.equal(order.flip(0), 5 - order)
    expected = trimix_terms(z1, z2, z_virtual, 0.3)
    permuted = trimix_terms(z1[order], z2[order], z_virtual[order], 0.3)
    torch.testing.assert_close(tuple(permuted), tuple(expected), rtol=0, atol=1e-12)


def test_reversing_the_virtual_batch_swaps_lam_and_its_complement():
    z, z_virtual = embeddings()
    expected = virtual_embedding_terms(z, z_virtual, 0.3, temperature=0.2)
    loss, p_lam, p_complement = virtual_embedding_terms(z, z_virtual.flip(0), 0.7, temperature=0.2)
    torch.testing.assert_close((loss, p_complement, p_lam), expected, rtol=0, atol=1e-12)


def test_lam_may_be_a_tensor_and_can_carry_a_gradient():
    z1, z2, z_virtual = embeddings(count=3)
    lam = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    terms = trimix_terms(z1, z2, z_virtual, lam)
    torch.testing.assert_close(tuple(terms), tuple(trimix_terms(z1, z2, z_virtual, 0.3)))
    (gradient,) = torch.autograd.grad(terms.consistency, lam)
    step = 1e-6
    ahead = self_consistency_loss(z1, z_virtual, 0.3 + step)
    behind = self_consistency_loss(z1, z_virtual, 0.3 - step)
    assert gradient.item() == pytest.approx(((ahead - behind) / (2 * step)).item(), abs=1e-6)


def test_autocast_changes_nothing():
    z1, z2, z_virtual = torch.randn(3, 16, 8)
    expected = torch.stack(trimix_terms(z1, z2, z_virtual, 0.3, temperature=0.1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = trimix_terms(z1, z2, z_virtual, 0.3, temperature=0.1)
        virtual = virtual_embedding_loss(z1, z_virtual, 0.3, temperature=0.1)
        half = virtual_similarity(z1.bfloat16(), z_virtual.bfloat16())
    assert torch.equal(torch.stack(terms), expected)
    assert torch.equal(virtual, expected[2])
    assert half.dtype == torch.float32


def test_zero_rows_have_finite_gradients():
    z = torch.ones(4, 3, requires_grad=True)
    virtual_embedding_loss(z, z, 0.3).backward()
    assert torch.isfinite(z.grad).all()


def test_feature_norm_standardises_each_virtual_row():
    z, z_virtual = embeddings()
    rows = standardize(z_virtual)
    rows = (rows - rows.mean(1, keepdim=True)) / (rows.var(1, keepdim=True, correction=0) + EPS).sqrt()
    expected = torch.nn.functional.cosine_similarity(standardize(z)[:, None], rows[None], dim=2, eps=0)
    torch.testing.assert_close(virtual_similarity(z, z_virtual), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda z: virtual_embedding_loss(z, z[:, :2], 0.5), "one shape"),
        (lambda z: self_consistency_loss(z, z[:3], 0.5), "one shape"),
        (lambda z: trimix_terms(z, z, z[:3], 0.5), "one shape"),
        (lambda z: virtual_embedding_loss(z, z, 1.5), r"lam must lie in \[0, 1\], got 1.5"),
        (lambda z: self_consistency_loss(z, z, float("nan")), "lam must lie"),
        (lambda z: self_consistency_loss(z, z, torch.ones(2)), "0-dim"),
        (lambda z: virtual_probabilities(z, z, temperature=0.0), "model.head.temperature"),
        (lambda z: trimix_terms(z[:1], z[:1], z[:1], 0.5), "at least 2"),
        (lambda z: virtual_targets(1, 0.5), "batch of 1"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.randn(4, 3))

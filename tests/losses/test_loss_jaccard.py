"""Jaccard similarity and its loss against loops from Eq. 2 and Eq. 4, bounds, and cost."""

import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ssl_ext.losses import (
    info_nce,
    jaccard_contrastive_loss,
    jaccard_contrastive_terms,
    jaccard_similarity,
    jaccard_weights,
    nt_xent,
    unit_rows,
)

EPS = 1e-3
POSITIVE = ["clamp", "affine"]
FINITE = ["guarded", *POSITIVE]
ALL = [*FINITE, "raw"]


def units(*shape, seed=0):
    z = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return unit_rows(z.flatten(0, -2)).reshape(shape)


def loop_similarity(a1, b1, a2, b2, intersection, eps):
    """Eq. 2 pair by pair, with the distance computed from the difference of the vectors."""
    a1, b1, a2, b2 = (z.tolist() for z in (a1, b1, a2, b2))
    result = []
    for x1, x2 in zip(a1, a2, strict=True):
        row = []
        for y1, y2 in zip(b1, b2, strict=True):
            s = math.fsum(p * q for p, q in zip(x1, y1, strict=True))
            ds = math.fsum((p - q) ** 2 for p, q in zip(x2, y2, strict=True))
            if intersection == "raw":
                row.append(s / (s + ds))
            elif intersection == "guarded":
                row.append(s / max(s + ds, eps))
            else:
                s = max(s, 0.0) if intersection == "clamp" else (1 + s) / 2
                row.append(s / (s + ds + eps))
        result.append(row)
    return torch.tensor(result, dtype=torch.float64)


@pytest.mark.parametrize("intersection", ALL)
@pytest.mark.parametrize("eps", [EPS, 0.3])
def test_similarity_equals_a_slow_loop(intersection, eps):
    pairs = units(5, 3), units(4, 3, seed=1), units(5, 6, seed=2), units(4, 6, seed=3)
    found = jaccard_similarity(*pairs, intersection=intersection, eps=eps)
    expected = loop_similarity(*pairs, intersection, eps)
    assert found.shape == (5, 4) and (expected < 0).any() == (intersection not in POSITIVE)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_clamp_is_eq_2_for_clear_intersections_up_to_eps():
    pairs = units(60, 3), units(60, 3, seed=1), units(60, 3, seed=2), units(60, 3, seed=3)
    s, ds = pairs[0] @ pairs[1].T, torch.cdist(pairs[2], pairs[3]).square()
    clear = s >= 0.05
    assert clear.sum() > 1000
    ours, eq2 = jaccard_similarity(*pairs, intersection="clamp", eps=EPS), s / (s + ds)
    # eps changes the denominator by at most eps / (s + ds).
    torch.testing.assert_close((ours * (s + ds + EPS) / (s + ds))[clear], eq2[clear], rtol=1e-9, atol=0)
    assert ((ours - eq2).abs() <= EPS / (s + ds))[clear].all()
    assert (ours[s <= 0] == 0).all()


def test_guarded_is_eq_2_beyond_the_guard():
    pairs = units(60, 3), units(60, 3, seed=1), units(60, 3, seed=2), units(60, 3, seed=3)
    s, ds = pairs[0] @ pairs[1].T, torch.cdist(pairs[2], pairs[3]).square()
    clear = s + ds > 0.05
    assert 0 < (~clear).sum() < 1000 < (clear & (s < 0)).sum()
    torch.testing.assert_close(jaccard_similarity(*pairs)[clear], (s / (s + ds))[clear], rtol=1e-9, atol=0)


@pytest.mark.parametrize("intersection", FINITE)
def test_slopes_are_bounded(intersection):
    eps = 0.05 if intersection == "guarded" else EPS
    # Unit vectors in the plane with a given cosine, including s = 0, ds = 0 and s + ds = eps.
    near = torch.logspace(-8, -1, 40).double()
    cosine = torch.cat([torch.linspace(-1, 1, 101).double(), near, 1 - near, near - 1])
    cosine = torch.cat([cosine, 1 - (eps * (1 + near[:1]) + 1 - near) / 2])
    s1, s2 = (c.flatten() for c in torch.meshgrid(cosine, cosine, indexing="ij"))
    x1, x2 = (torch.stack([s, (1 - s * s).clamp_min(0).sqrt()], 1).requires_grad_() for s in (s1, s2))
    first = torch.tensor([[1.0, 0.0]]).double()
    # x's first entry is the cosine, so its gradient is the slope.
    similarity = jaccard_similarity(x1, first, x2, first, intersection=intersection, eps=eps)
    similarity.sum().backward()
    assert similarity.min() >= (-1 / eps if intersection == "guarded" else 0) and similarity.max() <= 1
    slope1, slope2 = x1.grad[:, 0].abs().max(), x2.grad[:, 0].abs().max()
    # Guarded: ds / (s + ds)² with ds <= 1 + eps at the guard, and twice s / (s + ds)², since ds = 2 - 2 s2.
    bound1 = dict(guarded=(1 + eps) / eps**2, clamp=1 / eps, affine=0.5 / eps)[intersection]
    bound2 = 2 / eps**2 if intersection == "guarded" else 0.5 / eps * (1 + 1e-9)
    # The bounds are tight.
    assert 0.4 * bound1 < slope1 <= bound1 and 0.4 * bound2 < slope2 <= bound2


def special_vectors(kind, dtype):
    torch.manual_seed(0)
    z = unit_rows(torch.randn(6, 5, dtype=dtype))
    if kind == "identical":
        z = z[:1].repeat(6, 1)
    elif kind == "opposite":
        z = torch.cat([z[:1], -z[:1]]).repeat(3, 1)
    elif kind == "duplicates":
        z = z[[0, 1, 0, 1, 2, 2]]
    elif kind == "orthogonal":
        z = torch.eye(6, dtype=dtype)
    return z


@pytest.mark.parametrize("intersection", FINITE)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind1", ["random", "identical", "opposite", "duplicates", "orthogonal"])
@pytest.mark.parametrize("kind2", ["random", "identical", "opposite", "duplicates"])
def test_finite_for_every_unit_vector(intersection, dtype, kind1, kind2):
    z1, z2 = special_vectors(kind1, dtype), special_vectors(kind2, dtype)
    z1.requires_grad_(), z2.requires_grad_()
    similarity = jaccard_similarity(z1, z1, z2, z2, intersection=intersection)
    assert similarity.max() <= 1 and (intersection == "guarded" or similarity.min() >= 0)
    similarity.square().sum().backward()
    settings = dict(intersection=intersection, temperature=0.1)
    losses = [
        jaccard_contrastive_loss((z1, z2), (z1, z2), **settings),
        jaccard_contrastive_loss((z1, z2), (z1, z2), (z1.detach(), -z2.detach()), **settings),
    ]
    for z in (z1, z2):
        for gradient in (z.grad, *(torch.autograd.grad(loss, z, retain_graph=True)[0] for loss in losses)):
            assert gradient.isfinite().all()
    assert all(loss.isfinite() for loss in losses)


def test_equal_vectors_in_both_spaces_are_fully_similar():
    z = units(8, 40).float()
    for intersection, expected in (("guarded", 1), ("clamp", 1 / (1 + EPS))):
        found = jaccard_similarity(z, z, z, z, intersection=intersection, eps=EPS).diagonal()
        torch.testing.assert_close(found, torch.full((8,), expected).float())
    assert (jaccard_similarity(z, z, z, z, intersection="raw").diagonal() <= 1).all()


@pytest.mark.parametrize("intersection", ALL)
def test_gradcheck_of_the_similarity(intersection):
    # Away from s = 0, where 'clamp' has a kink and 'raw' may have a pole.
    a1 = units(3, 4).abs() + 0.1
    pairs = [a1, units(4, 4, seed=1).abs() + 0.1, units(3, 2, seed=2), units(4, 2, seed=3)]
    assert torch.autograd.gradcheck(
        lambda *z: jaccard_similarity(*map(unit_rows, z), intersection=intersection),
        [z.requires_grad_() for z in pairs],
    )


@pytest.mark.parametrize("form", ["SimCLR", "MoCo"])
def test_gradcheck_of_the_loss(form):
    views = [z.requires_grad_() for z in (units(3, 3), units(3, 2, seed=1), units(3, 3, seed=2))]
    views.append(units(3, 2, seed=3).requires_grad_())
    queue = None if form == "SimCLR" else (units(4, 3, seed=4), units(4, 2, seed=5))
    assert torch.autograd.gradcheck(
        lambda a, b, c, d: jaccard_contrastive_loss((a, b), (c, d), queue, intersection="affine"), views
    )


def loop_nce(matrix, positives, excluded, temperature):
    """Mean over the rows of -log softmax at the positive; without ``excluded`` columns."""
    losses, hits = [], 0
    for i, row in enumerate(matrix.tolist()):
        negatives = [s for j, s in enumerate(row) if j not in (positives[i], excluded[i])]
        above = math.exp(row[positives[i]] / temperature)
        below = math.fsum(math.exp(s / temperature) for s in negatives)
        losses.append(-math.log(above / (above + below)))
        hits += row[positives[i]] > max(negatives)
    return math.fsum(losses) / len(losses), hits / len(losses)


@pytest.mark.parametrize("intersection", ALL)
@pytest.mark.parametrize("form", ["SimCLR", "MoCo"])
def test_loss_equals_a_slow_loop(form, intersection):
    n, temperature, alpha = 4, 0.3, (0.5, 0.2)
    q1, k1, q2, k2 = units(n, 3), units(n, 3, seed=1), units(n, 5, seed=2), units(n, 5, seed=3)
    queue = (units(6, 3, seed=4), units(6, 5, seed=5)) if form == "MoCo" else None
    if queue is None:
        rows1, rows2 = torch.cat([q1, k1]), torch.cat([q2, k2])
        columns = [(rows1, rows2)] * (2 * n)
        positives, excluded = [(i + n) % (2 * n) for i in range(2 * n)], list(range(2 * n))
    else:
        rows1, rows2 = q1, q2
        columns = [
            tuple(torch.cat([k[i : i + 1], z]) for k, z in zip((k1, k2), queue, strict=True))
            for i in range(n)
        ]
        positives, excluded = [0] * n, [None] * n
    s1 = torch.stack([rows1[i] @ b1.T for i, (b1, _) in enumerate(columns)])
    s2 = torch.stack([rows2[i] @ b2.T for i, (_, b2) in enumerate(columns)])
    fused = torch.cat(
        [
            loop_similarity(rows1[i : i + 1], b1, rows2[i : i + 1], b2, intersection, EPS)
            for i, (b1, b2) in enumerate(columns)
        ]
    )
    expected = [loop_nce(s, positives, excluded, temperature) for s in (s1, s2, fused)]

    # The norms of queries and keys have no effect.
    query, key = (3 * q1, 0.1 * q2), (k1, 7 * k2)
    settings = dict(temperature=temperature, intersection=intersection, eps=EPS)
    terms = jaccard_contrastive_terms(query, key, queue, **settings)
    found = torch.stack(terms)
    reference = torch.tensor([loss for loss, _ in expected] + [expected[2][1]], dtype=torch.float64)
    torch.testing.assert_close(found, reference, rtol=0, atol=1e-9)
    total = 0.5 * reference[0] + 0.2 * reference[1] + 0.3 * reference[2]
    loss = jaccard_contrastive_loss(query, key, queue, alpha=alpha, **settings)
    torch.testing.assert_close(loss, total, rtol=0, atol=1e-9)
    assert not terms.positive_top1.requires_grad


def test_the_whole_weight_on_one_projector_is_the_plain_loss():
    q1, k1, q2, k2 = (units(5, 3, seed=seed) for seed in range(4))
    queue = units(7, 3, seed=4), units(7, 3, seed=5)
    for alpha, (q, k, z) in {(1, 0): (q1, k1, queue[0]), (0, 1): (q2, k2, queue[1])}.items():
        simclr = jaccard_contrastive_loss((q1, q2), (k1, k2), alpha=alpha, temperature=0.4)
        torch.testing.assert_close(simclr, nt_xent(q, k, temperature=0.4))
        moco = jaccard_contrastive_loss((q1, q2), (k1, k2), queue, alpha=alpha, temperature=0.4)
        torch.testing.assert_close(moco, info_nce(q, k, z, temperature=0.4))


class Work(TorchDispatchMode):
    """Counts matrix products and keeps the number of entries of the largest result."""

    products = largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.products += func is torch.ops.aten.mm.default
        if isinstance(result, torch.Tensor):
            self.largest = max(self.largest, result.numel())
        return result


@pytest.mark.parametrize("queue_size", [None, 50])
def test_one_product_per_projector_and_no_tensor_beyond_the_matrix(queue_size):
    q1, k1, q2, k2 = (units(20, 16, seed=seed).requires_grad_() for seed in range(4))
    queue = None if queue_size is None else (units(queue_size, 16), units(queue_size, 16, seed=9))
    with Work() as work:
        loss = jaccard_contrastive_loss((q1, q2), (k1, k2), queue)
    assert work.products == 2
    with work:
        loss.backward()
    assert work.largest == (40 * 40 if queue is None else 20 * (1 + queue_size))


def test_half_precision_is_computed_in_float32():
    views = (10 * units(8, 4, 5)).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = jaccard_contrastive_loss(views[:2], views[2:4], views[4:6])
        similarity = jaccard_similarity(*(unit_rows(z) for z in views[:4]))
    assert loss.dtype == similarity.dtype == torch.float32
    exact = [z.double() for z in views]
    expected = jaccard_similarity(*(unit_rows(z) for z in exact[:4]))
    torch.testing.assert_close(similarity.double(), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(intersection="min"), "intersection is 'min'; allowed are guarded, raw, clamp, affine"),
        (dict(eps=0.0), "eps must be > 0, got 0.0"),
        (dict(temperature=0), "temperature must be > 0, got 0"),
        (dict(alpha=(0.7, 0.4)), r"alpha is \(0.7, 0.4\)"),
        (dict(alpha=(-0.1, 0.4)), r"alpha is \(-0.1, 0.4\)"),
        (dict(alpha=(0.5,)), r"alpha is \(0.5,\)"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        jaccard_contrastive_loss(units(2, 3, 2), units(2, 3, 2, seed=1), **settings)


def test_bad_shapes_are_refused():
    z = units(4, 2)
    with pytest.raises(ValueError, match="a1, b1, a2, b2 have 4, 4, 3, 4 rows"):
        jaccard_similarity(z, z, z[:3], z)
    with pytest.raises(ValueError, match="one shape"):
        jaccard_contrastive_loss((z, z), (z, z[:3]))
    with pytest.raises(ValueError, match="a batch of 1 sample has no negatives"):
        jaccard_contrastive_loss((z[:1], z[:1]), (z[:1], z[:1]))


@pytest.mark.parametrize("alpha", [(1 / 3, 1 / 3), (0.1, 0.9), (0.0, 0.0)])
def test_weights_add_up_to_one(alpha):
    weights = jaccard_weights(alpha)
    assert min(weights) >= 0 and sum(weights) == pytest.approx(1)
    assert weights[:2] == alpha

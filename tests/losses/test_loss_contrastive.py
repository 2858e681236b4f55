"""NT-Xent and InfoNCE against loops written from their equations, closed forms and invariances."""

import math

import pytest
import torch

from ssl_ext.losses import info_nce, info_nce_terms, nt_xent, nt_xent_terms, unit_rows


def dot(a, b):
    return math.fsum(x * y for x, y in zip(a, b, strict=True))


def unit(row):
    return [x / math.sqrt(dot(row, row)) for x in row]


def loop_nce(queries, positives, negatives, temperature):
    """Mean of -log(e^{q·k+/τ} / (e^{q·k+/τ} + Σ e^{q·k-/τ})), and the share of nearest positives."""
    losses, hits = [], 0
    for query, positive, others in zip(queries, positives, negatives, strict=True):
        s, rest = dot(query, positive), [dot(query, k) for k in others]
        above = math.exp(s / temperature)
        losses.append(-math.log(above / (above + math.fsum(math.exp(r / temperature) for r in rest))))
        hits += s > max(rest)
    return math.fsum(losses) / len(losses), hits / len(losses)


def loop_nt_xent(z1, z2, temperature):
    views = [unit(row) for row in z1.tolist() + z2.tolist()]
    n, indices = len(z1), range(2 * len(z1))
    sisters = [(i + n) % (2 * n) for i in indices]
    positives = [views[j] for j in sisters]
    negatives = [[views[k] for k in indices if k not in (i, sisters[i])] for i in indices]
    assert all(len(others) == 2 * n - 2 for others in negatives)
    return loop_nce(views, positives, negatives, temperature)


def float64(values):
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize(("n", "temperature"), [(2, 1.0), (5, 0.5), (7, 0.07)])
def test_nt_xent_equals_a_slow_loop(n, temperature):
    z1 = 3 * torch.randn(n, 4, dtype=torch.float64, generator=torch.manual_seed(n))
    z2 = z1 + torch.randn_like(z1)
    terms = torch.stack(nt_xent_terms(z1, z2, temperature=temperature))
    expected = float64(loop_nt_xent(z1, z2, temperature))
    torch.testing.assert_close(terms, expected, rtol=0, atol=1e-12)
    assert 0 < expected[1] <= 1
    torch.testing.assert_close(nt_xent(z1, z2, temperature=temperature), expected[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize(("n", "k", "temperature"), [(1, 1, 1.0), (6, 3, 0.2), (3, 8, 0.07)])
def test_info_nce_equals_a_slow_loop(n, k, temperature):
    torch.manual_seed(k)
    query, queue = (unit_rows(torch.randn(rows, 4, dtype=torch.float64)) for rows in (n, k))
    key = unit_rows(query + torch.randn_like(query))
    terms = torch.stack(info_nce_terms(query, key, queue, temperature=temperature))
    loop = loop_nce(query.tolist(), key.tolist(), [queue.tolist()] * n, temperature)
    torch.testing.assert_close(terms, float64(loop), rtol=0, atol=1e-12)
    torch.testing.assert_close(info_nce(query, key, queue, temperature=temperature), terms[0])


def test_default_temperatures_are_the_papers():
    z1, z2, z3 = unit_rows(torch.randn(3, 4, 3, dtype=torch.float64))
    assert nt_xent(z1, z2) == nt_xent(z1, z2, temperature=0.5)
    assert info_nce(z1, z2, z3) == info_nce(z1, z2, z3, temperature=0.2)


def test_gradcheck():
    z1, z2, queue = torch.randn(3, 4, 3, dtype=torch.float64).requires_grad_().unbind()
    assert torch.autograd.gradcheck(nt_xent, (z1, z2))
    assert torch.autograd.gradcheck(info_nce, (z1, z2, queue))


def test_views_that_agree_and_images_that_differ():
    # Positives have cosine 1, all others 0 (orthogonal images).
    z = torch.eye(6, dtype=torch.float64)
    terms = nt_xent_terms(z, 5 * z, temperature=0.3)
    expected = math.log(1 + 10 * math.exp(-1 / 0.3))
    torch.testing.assert_close(terms.loss, float64(expected), rtol=0, atol=1e-12)
    assert terms.positive_top1 == 1
    moco = info_nce_terms(z[:2], z[:2], z[2:], temperature=0.3)
    torch.testing.assert_close(moco.loss, float64(math.log(1 + 4 * math.exp(-1 / 0.3))), rtol=0, atol=1e-12)
    assert moco.positive_top1 == 1


def test_collapse_gives_the_logarithm_of_the_number_of_candidates():
    z = torch.ones(4, 3, dtype=torch.float64, requires_grad=True)
    terms = nt_xent_terms(z, z)
    torch.testing.assert_close(terms.loss, float64(math.log(7)))
    assert terms.positive_top1 == 0
    terms.loss.backward()
    torch.testing.assert_close(z.grad, torch.zeros_like(z))
    unit_z = unit_rows(z.detach())
    moco = info_nce_terms(unit_z, unit_z, unit_z[:2])
    torch.testing.assert_close(moco.loss, float64(math.log(3)))
    assert moco.positive_top1 == 0


def test_invariances_of_nt_xent():
    z1, z2 = torch.randn(2, 6, 4, dtype=torch.float64)
    expected = nt_xent(z1, z2)
    order, rotation = torch.randperm(6), torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64))[0]
    lengths = torch.rand(6, 1, dtype=torch.float64) + 0.1
    for changed in (
        (z2, z1),
        (z1[order], z2[order]),
        (z1 @ rotation, z2 @ rotation),
        (z1 * lengths, 9 * z2),
    ):
        torch.testing.assert_close(nt_xent(*changed), expected, rtol=0, atol=1e-12)
    assert (nt_xent(z1[order], z2) - expected).abs() > 1e-3


def test_order_of_the_queue_changes_nothing():
    query, key, queue = unit_rows(torch.randn(3, 5, 4, dtype=torch.float64).flatten(0, 1)).chunk(3)
    torch.testing.assert_close(info_nce(query, key, queue), info_nce(query, key, queue.flip(0)))


def test_the_figure_has_no_gradient_and_changes_none():
    z1, z2 = torch.randn(2, 5, 3, dtype=torch.float64).requires_grad_().unbind()
    terms = nt_xent_terms(z1, z2)
    assert terms.loss.requires_grad and not terms.positive_top1.requires_grad
    assert not info_nce_terms(z1, z2, z1).positive_top1.requires_grad


def test_half_precision_is_computed_in_float32():
    z1, z2 = (100 * torch.randn(2, 8, 4)).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, moco = nt_xent(z1, z2), info_nce(unit_rows(z1), unit_rows(z2), unit_rows(z1).bfloat16())
    expected = nt_xent(z1.double(), z2.double())
    assert found.dtype == moco.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-6)


def test_a_row_of_zeros_has_finite_value_and_gradient():
    z = torch.randn(4, 3)
    z[1] = 0
    z.requires_grad_()
    loss = nt_xent(z, z.roll(1, 0))
    loss.backward()
    assert loss.isfinite() and z.grad.isfinite().all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda z: nt_xent(z, z, temperature=0.0), "temperature must be > 0, got 0.0"),
        (lambda z: info_nce(z, z, z, temperature=-1), "temperature must be > 0, got -1"),
        (lambda z: nt_xent(z, z[:2]), r"one shape, got \(3, 2\) and \(2, 2\)"),
        (lambda z: nt_xent(z[:1], z[:1]), "a batch of 1 sample has no negatives"),
        (lambda z: info_nce(z, z[:1], z), "one shape"),
        (lambda z: info_nce(z, z, z.T), r"queue must be \(K, 2\) as the queries, got \(2, 3\)"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.randn(3, 2))

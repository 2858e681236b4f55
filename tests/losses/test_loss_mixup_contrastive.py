"""Losses of mixed samples against slow loops written from the equations, in float64."""

import math

import pytest
import torch
from torch.autograd import gradcheck

from ssl_ext.losses import (
    cluster_cross_entropy,
    i_mix_terms,
    info_nce,
    mix_hard_negatives,
    mixup_bce,
    mixup_info_nce,
    mixup_pbce,
    mochi_terms,
    unit_rows,
    weighted_info_nce,
)

N, K, D, CLASSES, TAU = 4, 6, 3, 5, 0.3


def random(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def units(count, seed):
    return unit_rows(random(count, D, seed=seed))


@pytest.fixture
def z():
    """Mixed sample, its two sources, and the queue."""
    return units(N, 1), units(N, 2), units(N, 3), units(K, 4)


LAM = torch.tensor([0.0, 0.2, 0.7, 1.0], dtype=torch.float64)
EXCLUDED = torch.tensor([[0, 1, 0, 0, 1, 0], [0] * 6, [1] * 6, [1, 1, 0, 1, 1, 1]]).bool()


def nce(query, key, negatives):
    """Minus the logarithm of the (K + 1)-way softmax of one query, term by term."""
    positive = math.exp(float(query @ key) / TAU)
    return -math.log(positive / (positive + sum(math.exp(float(query @ n) / TAU) for n in negatives)))


def total(terms):
    return torch.tensor(sum(terms) / N, dtype=torch.float64)


@pytest.mark.parametrize("excluded", [None, EXCLUDED])
@pytest.mark.parametrize("lam", [0.3, LAM])
def test_mixup_info_nce_is_two_problems_of_k_plus_one_ways(z, lam, excluded):
    query, key_i, key_j, queue = z
    terms = []
    for n in range(N):
        share = lam if isinstance(lam, float) else float(lam[n])
        negatives = [queue[k] for k in range(K) if excluded is None or not excluded[n, k]]
        terms.append(share * nce(query[n], key_i[n], negatives))
        terms.append((1 - share) * nce(query[n], key_j[n], negatives))
    found = mixup_info_nce(*z, lam, temperature=TAU, excluded=excluded)
    torch.testing.assert_close(found, total(terms))


def test_the_ends_of_lam_are_info_nce_with_either_source(z):
    query, key_i, key_j, queue = z
    for lam, key in ((1.0, key_i), (0.0, key_j)):
        plain = info_nce(query, key, queue, temperature=TAU)
        torch.testing.assert_close(mixup_info_nce(*z, lam, temperature=TAU), plain)
    swapped = mixup_info_nce(query, key_j, key_i, queue, 1 - LAM, temperature=TAU)
    torch.testing.assert_close(mixup_info_nce(*z, LAM, temperature=TAU), swapped)


def test_weights_generalise_pairs_to_any_number_of_sources(z):
    query, keys, _, queue = z
    permutation = torch.tensor([1, 3, 2, 0])
    identity = torch.eye(N, dtype=torch.float64)
    weights = LAM[:, None] * identity + (1 - LAM)[:, None] * identity[permutation]
    pairs = mixup_info_nce(query, keys, keys[permutation], queue, LAM, temperature=TAU)
    torch.testing.assert_close(weighted_info_nce(query, keys, queue, weights, temperature=TAU), pairs)
    weights = random(N, N, seed=9).softmax(1)
    terms = [float(weights[n, m]) * nce(query[n], keys[m], queue) for n in range(N) for m in range(N)]
    torch.testing.assert_close(weighted_info_nce(query, keys, queue, weights, temperature=TAU), total(terms))


@pytest.mark.parametrize("lam", [0.3, LAM])
def test_bce_tells_the_sources_apart(z, lam):
    mixed, first, second, _ = z
    terms = []
    for n in range(N):
        share = lam if isinstance(lam, float) else float(lam[n])
        i, j = (math.exp(float(mixed[n] @ source[n]) / TAU) for source in (first, second))
        terms.append(-share * math.log(i / (i + j)) - (1 - share) * math.log(j / (i + j)))
    torch.testing.assert_close(mixup_bce(mixed, first, second, lam, temperature=TAU), total(terms))


def test_pbce_looks_at_two_logits_and_skips_pairs_of_one_class():
    logits, i, j = random(N, CLASSES), torch.tensor([0, 3, 4, 1]), torch.tensor([2, 3, 0, 4])
    terms = []
    for n in (0, 2, 3):
        own, other = (math.exp(float(logits[n, labels[n]])) for labels in (i, j))
        share = float(LAM[n])
        terms.append(-share * math.log(own / (own + other)) - (1 - share) * math.log(other / (own + other)))
    expected = torch.tensor(sum(terms) / 3, dtype=torch.float64)
    torch.testing.assert_close(mixup_pbce(logits, i, j, LAM), expected)
    logits.requires_grad_()
    nothing = mixup_pbce(logits, i, i, LAM)
    nothing.backward()
    assert nothing == 0 and not logits.grad.any()


def test_i_mix_is_a_softmax_over_all_keys_and_the_queue(z):
    query, keys, _, queue = z
    permutation, everyone, terms = torch.tensor([2, 0, 3, 1]), torch.cat([keys, queue]), []
    for n in range(N):
        ways = [math.exp(float(query[n] @ key) / TAU) for key in everyone]
        for share, m in ((float(LAM[n]), n), (1 - float(LAM[n]), int(permutation[n]))):
            terms.append(-share * math.log(ways[m] / sum(ways)))
    found = i_mix_terms(query, keys, queue, permutation, LAM, temperature=TAU)
    torch.testing.assert_close(found.loss, total(terms))
    one = i_mix_terms(keys, keys, queue, permutation, torch.ones(()), temperature=TAU)
    assert one.positive_top1 == 1
    assert i_mix_terms(keys, keys, queue, permutation, torch.zeros(()), temperature=TAU).positive_top1 == 0


def test_mochi_adds_synthetic_negatives_to_those_of_the_queue(z):
    query, key, _, queue = z
    settings = dict(num_hard=3, num_mixed=5, num_with_query=2)
    synthetic = mix_hard_negatives(query, queue, **settings, generator=torch.Generator().manual_seed(5))
    assert synthetic.shape == (N, 7, D) and not synthetic.requires_grad
    terms = [nce(query[n], key[n], [*queue, *synthetic[n]]) for n in range(N)]
    found = mochi_terms(
        query, key, queue, **settings, temperature=TAU, generator=torch.Generator().manual_seed(5)
    )
    torch.testing.assert_close(found.loss, total(terms))


def test_synthetic_negatives_lie_between_hard_ones_and_the_query():
    query, queue = units(2, 1), units(50, 2)
    made = mix_hard_negatives(query, queue, num_hard=2, num_mixed=200, num_with_query=200)
    torch.testing.assert_close(made.norm(dim=2), torch.ones(2, 400, dtype=torch.float64))
    for n in range(2):
        hardest = queue[(queue @ query[n]).topk(2).indices]
        # A mixture of two hard negatives is a non-negative combination of both.
        shares = torch.linalg.lstsq(hardest.T, made[n, :200].T).solution
        torch.testing.assert_close(hardest.T @ shares, made[n, :200].T)
        assert (shares > -1e-9).all() and shares.std(1).min() > 0.1
        # A mixture with the query has the larger weight on the negative; every hard negative occurs.
        seen = set()
        for vector in made[n, 200:]:
            for index, negative in enumerate(hardest):
                basis = torch.stack([query[n], negative], 1)
                share = torch.linalg.lstsq(basis, vector[:, None]).solution[:, 0]
                if torch.allclose(basis @ share, vector, atol=1e-9):
                    assert -1e-9 <= share[0] <= share[1]
                    seen.add(index)
                    break
            else:
                raise AssertionError("not between the query and a hard negative")
        assert seen == {0, 1}
    # num_hard is clipped to the size of the queue.
    assert mix_hard_negatives(query, queue[:1], num_hard=9, num_mixed=1, num_with_query=0).shape == (2, 1, 3)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_cluster_cross_entropy_weighs_by_the_size_of_the_cluster(power):
    logits, labels, counts = random(N, 3), torch.tensor([0, 2, 2, 1]), torch.tensor([9, 4, 30])
    top = bottom = 0.0
    for n in range(N):
        weight = float(counts[labels[n]]) ** -power
        ways = [math.exp(float(x)) for x in logits[n]]
        top -= weight * math.log(ways[labels[n]] / sum(ways))
        bottom += weight
    found = cluster_cross_entropy(logits, labels, counts, power=power)
    torch.testing.assert_close(found, torch.tensor(top / bottom, dtype=torch.float64))


def test_gradients_equal_finite_differences(z):
    inputs = [part.clone().requires_grad_() for part in z]
    lam, permutation = LAM.clone().requires_grad_(), torch.tensor([1, 2, 3, 0])
    logits = random(N, CLASSES).requires_grad_()
    i, j = torch.tensor([0, 3, 4, 1]), torch.tensor([2, 3, 0, 4])
    assert gradcheck(lambda *x: mixup_info_nce(*x, temperature=TAU, excluded=EXCLUDED), (*inputs, lam))
    assert gradcheck(lambda *x: mixup_bce(*x, temperature=TAU), (*inputs[:3], lam))
    assert gradcheck(lambda x: mixup_pbce(x, i, j, LAM), (logits,))
    assert gradcheck(
        lambda q, k, queue: i_mix_terms(q, k, queue, permutation, LAM, temperature=TAU).loss,
        (inputs[0], inputs[1], inputs[3]),
    )
    weights = random(N, N, seed=9).softmax(1)
    assert gradcheck(
        lambda q, k, queue: weighted_info_nce(q, k, queue, weights, temperature=TAU),
        (inputs[0], inputs[1], inputs[3]),
    )
    assert gradcheck(lambda x: cluster_cross_entropy(x, i, torch.arange(1, CLASSES + 1)), (logits,))


def test_mochi_has_the_gradient_of_fixed_negatives(z):
    query, key, _, queue = (part.clone().requires_grad_() for part in z)
    settings = dict(num_hard=3, num_mixed=5, num_with_query=2)
    generator = torch.Generator().manual_seed(5)
    synthetic = mix_hard_negatives(query, queue, **settings, generator=generator)
    logits = torch.cat([(query * key).sum(1, keepdim=True), query @ queue.T], 1)
    logits = torch.cat([logits, (query[:, None] * synthetic).sum(2)], 1) / TAU
    fixed = torch.nn.functional.cross_entropy(logits, torch.zeros(N, dtype=torch.long))
    found = mochi_terms(query, key, queue, **settings, temperature=TAU, generator=generator.manual_seed(5))
    for part in (query, key, queue):
        torch.testing.assert_close(
            torch.autograd.grad(found.loss, part, retain_graph=True),
            torch.autograd.grad(fixed, part, retain_graph=True),
        )


def test_everything_masked_leaves_no_loss_and_no_nan(z):
    query = z[0].float().requires_grad_()
    rest = [part.float() for part in z[1:]]
    loss = mixup_info_nce(query, *rest, 0.5, excluded=torch.ones(N, K, dtype=torch.bool))
    loss.backward()
    assert loss == 0 and torch.equal(query.grad, torch.zeros_like(query))


def test_half_precision_and_autocast_compute_in_float32(z):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = mixup_info_nce(*(part.bfloat16() for part in z), 0.5)
        assert found.dtype == torch.float32
        expected = mixup_info_nce(*(part.bfloat16().double() for part in z), 0.5)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda z: mixup_info_nce(*z, 0.5, temperature=0), "temperature must be > 0, got 0"),
        (lambda z: mixup_info_nce(*z, torch.ones(3)), r"lam must be a scalar or \(4,\)"),
        (lambda z: mixup_info_nce(*z[:3], z[3][:, :2], 0.5), r"queue must be \(K, 3\)"),
        (lambda z: mixup_info_nce(*z, 0.5, excluded=EXCLUDED[:2]), r"excluded must be \(4, 6\)"),
        (lambda z: mixup_info_nce(z[0], z[3], z[2], z[3], 0.5), "must be \\(N, D\\) tensors of one shape"),
        (lambda z: weighted_info_nce(z[0], z[1], z[3], torch.ones(4, 3)), r"weights must be \(4, M\)"),
        (lambda z: mixup_bce(*z[:3], 0.5, temperature=-1), "temperature must be > 0"),
        (lambda z: mixup_pbce(z[0], torch.zeros(3), torch.zeros(4), 0.5), "do not fit"),
        (lambda z: i_mix_terms(*z[:2], z[3][:, :2], torch.arange(4), LAM), r"queue must be \(K, 3\)"),
        (
            lambda z: mochi_terms(*z[:2], z[3], num_hard=0),
            "num_hard must be at least 1, got 0 .config key model.head.num_hard",
        ),
        (lambda z: cluster_cross_entropy(z[0], torch.zeros(4), torch.ones(2)), "do not fit"),
    ],
)
def test_bad_input_is_named(z, call, message):
    with pytest.raises(ValueError, match=message):
        call(z)

"""PIRL's noise-contrastive losses against a loop written from the paper, and closed forms."""

import math

import pytest
import torch
import torch.nn.functional as F

from ssl_ext.losses import nce_terms, pirl_terms

N, K, D = 5, 7, 4


def embeddings():
    """Queries, positives (N, D) and negatives (K, D), of any length."""
    return (torch.randn(rows, D, dtype=torch.float64) * 3 for rows in (N, N, K))


def cosine(a, b):
    return math.fsum(x * y for x, y in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)


def loop_nce(queries, positives, negatives, temperature, excluded=None):
    losses = []
    for i, (query, positive) in enumerate(zip(queries.tolist(), positives.tolist(), strict=True)):
        others = [n for j, n in enumerate(negatives.tolist()) if excluded is None or not excluded[i][j]]
        own, *rest = (math.exp(cosine(query, key) / temperature) for key in [positive, *others])
        total = own + math.fsum(rest)
        losses.append(-math.log(own / total) - math.fsum(math.log(1 - e / total) for e in rest))
    return math.fsum(losses) / len(losses)


@pytest.mark.parametrize("temperature", [0.2, 1.0])
def test_equals_a_slow_loop(temperature):
    queries, positives, negatives = embeddings()
    excluded = torch.rand(N, K) < 0.3
    for mask in (None, excluded):
        loss, _ = nce_terms(queries, positives, negatives, excluded=mask, temperature=temperature)
        expected = loop_nce(queries, positives, negatives, temperature, mask)
        assert loss.item() == pytest.approx(expected, abs=1e-10)


def test_gradcheck_with_excluded_negatives():
    queries, positives, negatives = (z.requires_grad_() for z in embeddings())
    excluded = torch.rand(N, K) < 0.3

    def loss(*z):
        return nce_terms(*z, excluded=excluded, temperature=0.3)[0]

    assert torch.autograd.gradcheck(loss, (queries, positives, negatives))


def test_one_negative_is_twice_a_softplus_even_where_its_probability_rounds_to_one():
    angles = torch.linspace(0, math.pi, 9)
    queries = torch.stack([angles.cos(), angles.sin()], 1).requires_grad_()
    positives, negatives = torch.tensor([[-1.0, 0]]).expand(9, 2), torch.tensor([[1.0, 0]])
    loss, _ = nce_terms(queries, positives, negatives, temperature=0.01)
    expected = 2 * F.softplus(2 * angles.cos().double() / 0.01).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    (gradient,) = torch.autograd.grad(loss, queries)
    assert gradient.isfinite().all()
    # d cosine / d query is sin along the circle: two times the slope of 2 cos / temperature.
    assert gradient.norm(dim=1)[3:6].max() <= 2 * 2 / 0.01 / 9 + 1


def test_equal_embeddings_have_a_closed_form_and_a_finite_gradient():
    z = torch.ones(3, 4, requires_grad=True)
    loss, top1 = nce_terms(z, torch.ones(3, 4), torch.ones(9, 4))
    assert loss.item() == pytest.approx(math.log(10) - 9 * math.log(0.9), rel=1e-5)
    assert top1 == 1
    assert torch.autograd.grad(loss, z)[0].isfinite().all()


def test_with_every_negative_excluded_there_is_nothing_to_learn():
    z = torch.randn(2, 3, requires_grad=True)
    loss, _ = nce_terms(z, torch.randn(2, 3), torch.randn(1, 3), excluded=torch.ones(2, 1).bool())
    assert loss == 0
    assert torch.equal(torch.autograd.grad(loss, z)[0], torch.zeros(2, 3))


def test_lengths_and_the_order_of_the_negatives_change_nothing():
    queries, positives, negatives = embeddings()
    before = nce_terms(queries, positives, negatives)
    after = nce_terms(queries * 0.1, positives * 7, negatives[torch.randperm(K)] * torch.rand(K, 1) * 5)
    torch.testing.assert_close(after, before)


def test_positive_top1_counts_the_queries_that_are_nearest_to_their_own_memory():
    memory = torch.eye(4)
    queries = torch.tensor([[3.0, 1, 0, 0], [0, 1, 2, 0], [0, 0, 1, 0]])
    top1 = nce_terms(queries.requires_grad_(), memory[:3], memory)[1]
    assert top1.item() == pytest.approx(2 / 3)
    assert not top1.requires_grad
    excluded = torch.zeros(3, 4).bool()
    excluded[1, 2] = True
    assert nce_terms(queries, memory[:3], memory, excluded=excluded)[1] == 1


def test_pirl_terms_are_the_losses_of_the_transformed_images_and_of_the_images():
    z_image, memory, negatives = embeddings()
    z_transformed = torch.randn(N, D, dtype=torch.float64)
    excluded = torch.rand(N, K) < 0.3
    settings = dict(excluded=excluded, temperature=0.2)
    transformed, image, top1 = pirl_terms(z_image, z_transformed, memory, negatives, **settings)
    assert transformed.item() == pytest.approx(
        loop_nce(z_transformed, memory, negatives, 0.2, excluded), abs=1e-9
    )
    assert image.item() == pytest.approx(loop_nce(z_image, memory, negatives, 0.2, excluded), abs=1e-9)
    assert torch.equal(top1, nce_terms(z_transformed, memory, negatives, **settings)[1])


def test_half_precision_inputs_are_computed_in_float32():
    z, memory, negatives = torch.randn(6, 4).half(), torch.randn(6, 4), torch.randn(9, 4)
    with torch.autocast("cpu", torch.bfloat16):
        found = nce_terms(z, memory, negatives)
    assert found[0].dtype == torch.float32
    torch.testing.assert_close(found, nce_terms(z.float(), memory, negatives))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(temperature=0), "temperature must be > 0, got 0 .config key model.head.temperature"),
        (dict(negatives=torch.ones(0, D)), r"negatives must be \(K, 4\) with K >= 1, got \(0, 4\)"),
        (dict(negatives=torch.ones(3, 2)), r"negatives must be \(K, 4\) with K >= 1, got \(3, 2\)"),
        (dict(excluded=torch.zeros(N, 1).bool()), r"excluded must be \(5, 7\), got \(5, 1\)"),
        (dict(positives=torch.ones(N, 2)), r"of one shape, got \(5, 4\) and \(5, 2\)"),
    ],
)
def test_bad_arguments_are_refused(change, message):
    arguments = dict(queries=torch.ones(N, D), positives=torch.ones(N, D), negatives=torch.ones(K, D))
    with pytest.raises(ValueError, match=message):
        nce_terms(**{**arguments, **change})

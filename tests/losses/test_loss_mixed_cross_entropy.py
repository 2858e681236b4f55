"""Mixed cross-entropy against a loop over samples, and closed forms."""

import math

import pytest
import torch
import torch.nn.functional as F

from ssl_ext.losses import mixed_cross_entropy
from ssl_ext.mixups import Mixed

N, K = 5, 4
LOGITS = torch.randn(N, K, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 3
LABELS = torch.tensor([3, 0, 2, 2, 1])
LAM = torch.tensor([0.0, 0.2, 0.5, 0.9, 1.0])
PERMUTATION = torch.tensor([1, 4, 0, 2, 3])


def mixed(weights=None, lam=LAM, permutation=PERMUTATION):
    return Mixed(torch.empty(0), lam, permutation, weights)


def log_probability(row, label):
    return row[label] - math.log(math.fsum(math.exp(value) for value in row))


def test_equals_a_loop_over_pairs():
    total = 0.0
    for n, row in enumerate(LOGITS.tolist()):
        lam = LAM[n].item()
        total -= lam * log_probability(row, LABELS[n])
        total -= (1 - lam) * log_probability(row, LABELS[PERMUTATION[n]])
    assert mixed_cross_entropy(LOGITS, LABELS, mixed()).item() == pytest.approx(total / N, abs=1e-7)


def test_equals_a_loop_over_all_contributors():
    weights = torch.rand(N, N).softmax(1)
    total = -math.fsum(
        weights[n, k].item() * log_probability(row, LABELS[k])
        for n, row in enumerate(LOGITS.tolist())
        for k in range(N)
    )
    found = mixed_cross_entropy(LOGITS, LABELS, mixed(weights))
    assert found.item() == pytest.approx(total / N, abs=1e-6)


def test_weights_of_two_contributors_are_lam_and_the_rest():
    weights = torch.diag(LAM)
    weights[torch.arange(N), PERMUTATION] += 1 - LAM
    torch.testing.assert_close(
        mixed_cross_entropy(LOGITS, LABELS, mixed(weights)), mixed_cross_entropy(LOGITS, LABELS, mixed())
    )


def test_unmixed_images_have_plain_cross_entropy():
    plain = mixed(lam=torch.ones(N))
    torch.testing.assert_close(mixed_cross_entropy(LOGITS, LABELS, plain), F.cross_entropy(LOGITS, LABELS))


@pytest.mark.parametrize("weights", [None, torch.full((N, N), 1 / N)])
def test_gradcheck(weights):
    logits = LOGITS.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: mixed_cross_entropy(z, LABELS, mixed(weights)), logits)


def test_half_precision_is_computed_in_float32():
    logits = LOGITS.half()
    with torch.autocast("cpu", torch.bfloat16):
        found = mixed_cross_entropy(logits, LABELS, mixed())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, mixed_cross_entropy(logits.float(), LABELS, mixed()))


def test_shapes_must_fit():
    with pytest.raises(ValueError, match=r"do not fit: \(5, 4\), \(5,\), \(4,\)"):
        mixed_cross_entropy(LOGITS, LABELS, mixed(lam=LAM[:4]))
    with pytest.raises(ValueError, match="do not fit"):
        mixed_cross_entropy(LOGITS, LABELS[:4], mixed())

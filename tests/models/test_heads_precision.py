"""Under autocast every loss is computed in float32, from embeddings of whatever precision."""

import pytest
import torch

from ssl_ext.losses.cross_entropy import cross_entropy
from ssl_ext.mixups import Mixed
from ssl_ext.models import heads

N, D, QUEUE, CLASSES = 16, 12, 24, 5


def draw(count=N, width=D):
    """Embeddings as a network under autocast gives them; off zero, where bfloat16 would cost most."""
    return (3 + torch.randn(count, width)).to(torch.bfloat16)


def unit(count=N):
    return torch.nn.functional.normalize(torch.randn(count, D), dim=1).to(torch.bfloat16)


def mixture():
    return Mixed(torch.zeros(N, 3, 4, 4), torch.rand(N), torch.randperm(N))


def block(head, cast):
    mixed, labels = mixture(), torch.randint(CLASSES, (N,))
    mask = torch.rand(N, 1, 4, 4)
    return head.loss(cast(draw(width=CLASSES)), cast(draw()), cast(draw()), labels, mixed, mask)


def amix(head, cast):
    names = ("bce", "ce", "infonce", "pbce")
    rest = dict(logits=cast(draw(width=CLASSES)), labels=torch.randint(CLASSES, (N,)))
    keys, queue, mixed = cast(unit()), cast(unit(QUEUE)), mixture()
    terms = head.mixed(cast(unit()), keys, queue, mixed)
    terms |= head.block(names, cast(unit()), keys, queue, mixed, **rest)
    return terms | head.mask(torch.rand(N, 1, 4, 4), mixed.lam, torch.tensor(1.0))


def clusters(head, cast):
    # The linear classifier belongs to the network; the loss begins at its outputs.
    head.classifier = torch.nn.Identity()
    return head.loss(cast(draw(width=CLASSES)), torch.randint(CLASSES, (N,)), torch.randint(1, 9, (CLASSES,)))


def two_views(head, cast):
    return head.loss(cast(draw()), cast(draw()))


def queued(head, cast):
    return head.loss(cast(unit()), cast(unit()), cast(unit(QUEUE)))


CALLS = {
    "AMixHead": (dict(), amix),
    "BarlowTwinsHead": (dict(), two_views),
    "CosineRegressionHead": (dict(), lambda head, cast: head.loss(term=[(cast(draw()), cast(draw()))])),
    "IMixHead": (
        dict(),
        lambda head, cast: head.loss(
            cast(unit()), cast(unit()), cast(unit(QUEUE)), torch.randperm(N), torch.rand(N)
        ),
    ),
    "JaccardHead": (
        dict(),
        lambda head, cast: head.loss([cast(draw()), cast(draw())], [cast(draw()), cast(draw())]),
    ),
    "MixBlockHead": (dict(losses=("ce", "pbce", "bce", "infonce")), block),
    "MixMoCoHead": (dict(), queued),
    "MoCHiHead": (dict(num_hard=8, num_mixed=6, num_with_query=4), queued),
    "MoCoHead": (dict(), queued),
    "ODCHead": (dict(in_channels=CLASSES, num_clusters=CLASSES), clusters),
    "PIRLHead": (
        dict(num_negatives=10),
        lambda head, cast: head.loss(cast(draw()), cast(draw()), cast(unit(QUEUE)), torch.arange(N)),
    ),
    "SimCLRHead": (dict(), two_views),
    "SwAVHead": (dict(in_channels=D, num_prototypes=6), two_views),
    "TriMixHead": (
        dict(),
        lambda head, cast: head.loss(*(cast(draw()) for _ in range(5)), torch.tensor(0.7)),
    ),
    "VICRegHead": (dict(), two_views),
}


def test_every_head_is_listed():
    assert sorted(CALLS) == sorted(heads.__all__)


@pytest.mark.parametrize("name", sorted(CALLS))
def test_a_head_under_autocast_gives_the_float32_loss(name):
    options, call = CALLS[name]
    torch.manual_seed(0)
    head = getattr(heads, name)(**options)
    torch.manual_seed(1)
    expected = call(head, lambda value: value.float())
    torch.manual_seed(1)
    with torch.autocast("cpu", torch.bfloat16):
        found = call(head, lambda value: value)
    losses = [term for term in expected if term.startswith("loss")]
    assert losses
    for term in losses:
        assert found[term].dtype == torch.float32, term
        # bfloat16 keeps three digits: anything computed in it would be a thousand times further off.
        torch.testing.assert_close(found[term], expected[term], rtol=2e-6, atol=1e-6, msg=f"{name}: {term}")


def test_cross_entropy_of_classifiers():
    logits, labels = draw(width=CLASSES), torch.randint(CLASSES, (N,))
    with torch.autocast("cpu", torch.bfloat16):
        found = cross_entropy(logits, labels)
    assert found.dtype == torch.float32
    assert torch.equal(found, cross_entropy(logits.float(), labels))

import math

import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from ssl_ext.evaluation import choose_k, knn_classify


def clusters(count, dim=6, classes=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(classes, dim, generator=torch.Generator().manual_seed(99))
    labels = torch.randint(classes, (count,), generator=generator)
    return centres[labels] + 0.8 * torch.randn(count, dim, generator=generator), labels


def slow_knn(queries, bank, labels, num_classes, k, temperature):
    scores = []
    for query in queries.double():
        similar = []
        for row, label in zip(bank.double(), labels, strict=True):
            cosine = float(query @ row / (query.norm() * row.norm()))
            if label >= 0:
                similar.append((cosine, int(label)))
        votes = [0.0] * num_classes
        for cosine, label in sorted(similar, reverse=True)[:k]:
            votes[label] += math.exp(cosine / temperature)
        scores.append([vote / sum(votes) for vote in votes])
    return torch.tensor(scores)


@pytest.mark.parametrize("chunk_size", [7, 512])
@pytest.mark.parametrize("k", [1, 5, 40])
def test_equals_a_slow_loop(k, chunk_size):
    (queries, _), (bank, labels) = clusters(20, seed=1), clusters(50, seed=2)
    labels[::9] = -1
    ours = knn_classify(queries, bank, labels, num_classes=4, k=k, temperature=0.2, chunk_size=chunk_size)
    torch.testing.assert_close(ours, slow_knn(queries, bank, labels, 4, k, 0.2))


def test_uniform_weights_equal_scikit_learn():
    (queries, _), (bank, labels) = clusters(60, seed=1), clusters(300, seed=2)
    theirs = KNeighborsClassifier(15, metric="cosine").fit(bank, labels).predict_proba(queries)
    ours = knn_classify(queries, bank, labels, num_classes=4, k=15, weights="uniform")
    torch.testing.assert_close(ours.double(), torch.from_numpy(theirs), rtol=0, atol=1e-6)


def test_rotating_or_scaling_the_embedding_changes_nothing():
    (queries, _), (bank, labels) = clusters(30, seed=1), clusters(80, seed=2)
    rotation, _ = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(3)))
    plain = knn_classify(queries, bank, labels, num_classes=4, k=10)
    turned = knn_classify(3 * queries @ rotation, bank @ rotation, labels, num_classes=4, k=10)
    torch.testing.assert_close(plain, turned, rtol=1e-4, atol=1e-5)


def test_k_is_capped_at_the_labelled_bank():
    (queries, _), (bank, labels) = clusters(5, seed=1), clusters(12, seed=2)
    labels[:2] = -1
    many = knn_classify(queries, bank, labels, num_classes=4, k=1000)
    torch.testing.assert_close(many, knn_classify(queries, bank[2:], labels[2:], num_classes=4, k=10))


def test_unlabelled_rows_never_vote():
    bank = torch.tensor([[1.0, 0.0], [1.0, 0.01], [0.0, 1.0]])
    scores = knn_classify(torch.tensor([[1.0, 0.0]]), bank, torch.tensor([-1, -1, 1]), num_classes=2, k=1)
    assert scores.tolist() == [[0.0, 1.0]]
    with pytest.raises(ValueError, match="no labelled row"):
        knn_classify(bank, bank, torch.full((3,), -1), num_classes=2)


def test_tiny_temperature_does_not_overflow():
    (queries, _), (bank, labels) = clusters(5, seed=1), clusters(50, seed=2)
    nearest = knn_classify(queries, bank, labels, num_classes=4, k=1)
    torch.testing.assert_close(
        knn_classify(queries, bank, labels, num_classes=4, k=20, temperature=1e-7), nearest
    )


def test_several_labels_per_image():
    bank, labels = torch.eye(3), torch.tensor([[1, 0], [1, 1], [0, 1]])
    scores = knn_classify(torch.ones(1, 3), bank, labels, num_classes=2, k=3, weights="uniform")
    torch.testing.assert_close(scores, torch.tensor([[2 / 3, 2 / 3]]))


def test_choose_k_equals_one_search_per_k_and_prefers_the_smaller():
    (queries, answers), (bank, labels) = clusters(200, seed=1), clusters(100, seed=2)
    ks = [50, 1, 7, 3]
    best, rates = choose_k(queries, answers, bank, labels, num_classes=4, ks=ks)
    for k in ks:
        scores = knn_classify(queries, bank, labels, num_classes=4, k=k)
        assert rates[k] == pytest.approx((scores.argmax(1) == answers).double().mean().item())
    assert rates[best] == max(rates.values())
    same, _ = choose_k(bank, labels, bank, torch.zeros_like(labels), num_classes=4, ks=[9, 2, 4])
    assert same == 2


@pytest.mark.parametrize(
    ("settings", "key"),
    [(dict(k=0), "knn.k=0"), (dict(temperature=0.0), "temperature"), (dict(weights="no"), "weights")],
)
def test_bad_settings_name_their_key(settings, key):
    with pytest.raises(ValueError, match=key):
        knn_classify(torch.eye(2), torch.eye(2), torch.tensor([0, 1]), num_classes=2, **settings)

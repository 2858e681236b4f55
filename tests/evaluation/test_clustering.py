import math

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score, silhouette_score

from ssl_ext.evaluation import Banks, FeatureBank, cluster_protocol, fit_pca

TASK = dict(num_classes=3, task="multi-class", seed=0)


def bank(count, seed, *, dim=60, spread=1.0):
    generator = torch.Generator().manual_seed(seed)
    centres = 1.5 * torch.randn(3, dim, generator=torch.Generator().manual_seed(9))
    labels = torch.arange(count) % 3
    return FeatureBank(centres[labels] + spread * torch.randn(count, dim, generator=generator), labels)


def banks(**options):
    return Banks(bank(120, 0, **options), bank(30, 1, **options), bank(90, 2, **options))


def test_equals_scikit_learn_with_components_of_the_training_rows():
    data = banks(spread=6.0)
    found = cluster_protocol(data, **TASK)
    train, test, labels = data.fit.features.numpy(), data.test.features.numpy(), data.test.labels.numpy()
    for count in (2, 50):
        pca = PCA(count, svd_solver="full").fit(train.astype(float))
        points = pca.transform(test)
        assert found.last[f"silhouette_pca{count}"] == pytest.approx(
            silhouette_score(points, labels), abs=1e-4
        )
        share = pca.explained_variance_ratio_.sum()
        assert found.last[f"explained_pca{count}"] == pytest.approx(share, abs=1e-4)
    pca = fit_pca(train, 50)
    clusters = KMeans(3, n_init=10, random_state=0).fit(pca.transform(train)).predict(pca.transform(test))
    assert found.last["nmi"] == pytest.approx(normalized_mutual_info_score(labels, clusters))
    assert found.last["ari"] == pytest.approx(adjusted_rand_score(labels, clusters))
    assert 0.05 < found.last["nmi"] < 0.95
    assert found.settings["components"] == [2, 50]
    assert found.best == found.last


def test_distant_classes_are_found_and_mixed_ones_are_not():
    apart = cluster_protocol(banks(spread=0.01), **TASK).last
    assert apart["nmi"] == apart["ari"] == 1
    assert min(apart["silhouette_pca2"], apart["explained_pca2"]) > 0.99
    data = banks(spread=1.0)
    mixed = FeatureBank(data.test.features, torch.arange(90) // 30)
    alone = cluster_protocol(Banks(data.fit, data.val, mixed), **TASK).last
    assert abs(alone["ari"]) < 0.05
    assert alone["silhouette_pca50"] < 0.01


def test_the_training_labels_are_not_looked_at_and_the_seed_repeats():
    data = banks(spread=6.0)
    blind = FeatureBank(data.fit.features, torch.zeros_like(data.fit.labels))
    once = cluster_protocol(data, **TASK)
    assert once == cluster_protocol(Banks(blind, data.val, data.test), **TASK)
    final = FeatureBank(data.test.features.flip(0) + 1, data.test.labels)
    held_out = cluster_protocol(Banks(data.fit, data.val, data.test, final), **TASK)
    assert held_out.last != once.last
    assert held_out.settings["fit_includes_validation"]


@pytest.mark.parametrize(("dim", "train", "kept"), [(3, 120, 3), (1, 120, 1), (60, 10, 10)])
def test_few_features_or_rows_keep_the_components_there_are(dim, train, kept):
    data = Banks(bank(train, 0, dim=dim), bank(30, 1, dim=dim), bank(9, 2, dim=dim))
    found = cluster_protocol(data, **TASK)
    assert found.settings["components"] == [min(2, kept), kept]
    assert found.last["explained_pca50"] == pytest.approx(1, abs=1e-5)
    assert all(math.isfinite(value) for value in found.last.values())


def test_one_class_has_no_silhouette():
    data = banks()
    one = FeatureBank(data.test.features, torch.zeros(90, dtype=torch.int64))
    found = cluster_protocol(Banks(data.fit, data.val, one), **TASK).last
    assert math.isnan(found["silhouette_pca2"])
    assert math.isnan(found["silhouette_pca50"])
    assert found["ari"] == 0


def test_collapsed_features_are_reported_and_not_an_error():
    flat = FeatureBank(torch.ones(12, 4), torch.arange(12) % 3)
    found = cluster_protocol(Banks(flat, flat, flat), **TASK).last
    assert found["silhouette_pca50"] == found["nmi"] == 0
    assert math.isnan(found["explained_pca2"])


def test_bad_input():
    data = banks()
    with pytest.raises(ValueError, match="several labels"):
        cluster_protocol(data, num_classes=3, task="multi-label", seed=0)
    with pytest.raises(ValueError, match="restarts=0"):
        cluster_protocol(data, **TASK, restarts=0)
    with pytest.raises(ValueError, match=r"0 principal components.*\(4, 3\)"):
        fit_pca(np.eye(4, 3), 0)
    with pytest.raises(ValueError, match=r"shape \(1, 3\)"):
        fit_pca(np.ones((1, 3)), 2)

import math

import numpy as np
import pytest
import scipy.linalg
import torch

from ssl_ext.evaluation import (
    alignment,
    alpha_req,
    feature_std,
    lidar,
    quality,
    quality_figures,
    rankme,
    uniformity,
)


def test_rankme_closed_forms():
    assert rankme(torch.eye(7)) == pytest.approx(7)
    assert rankme(torch.outer(torch.randn(20), torch.randn(6))) == pytest.approx(1, abs=1e-4)
    assert rankme(torch.zeros(4, 3)) == 0
    shares = torch.tensor([0.5, 0.25, 0.25])
    assert rankme(torch.diag(shares)) == pytest.approx(math.exp(1.5 * math.log(2)))


def test_rankme_equals_the_definition_and_ignores_rotation_and_scale():
    for shape in ((40, 6), (6, 40)):
        features = torch.randn(shape, generator=torch.Generator().manual_seed(1))
        sigma = torch.linalg.svdvals(features.double())
        share = sigma / sigma.sum()
        expected = math.exp(-(share * share.log()).sum())
        assert rankme(features) == pytest.approx(expected, rel=1e-6)
        rotation, _ = torch.linalg.qr(torch.randn(shape[1], shape[1]))
        assert rankme(5 * features @ rotation) == pytest.approx(expected, rel=1e-3)


def test_feature_std_of_spread_and_of_collapsed_features():
    spread = torch.randn(20000, 64, generator=torch.Generator().manual_seed(0))
    assert feature_std(spread) == pytest.approx(64**-0.5, rel=0.01)
    assert feature_std(torch.ones(50, 8) * torch.rand(50, 1).add(0.1)) == pytest.approx(0, abs=1e-6)
    assert feature_std(torch.cat([torch.eye(4), -torch.eye(4)])) == pytest.approx(0.5)


def test_alpha_req_equals_a_weighted_fit_and_finds_a_given_exponent():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(300, 120, generator=generator) * torch.arange(1, 121) ** -0.7 + 3
    # As the authors' code: eigenvalues 4 to 100 of the covariance, weights 1/rank.
    eigenvalues = np.sort(np.linalg.eigvalsh(np.cov(features.double().numpy().T)))[::-1]
    rank = np.arange(4, 101)
    slope, _ = np.polyfit(np.log(rank), np.log(eigenvalues[3:100]), 1, w=np.sqrt(1 / rank))
    assert alpha_req(features) == pytest.approx(-slope, rel=1e-9)
    assert alpha_req(7 * features - 5) == pytest.approx(-slope, rel=1e-6)
    # Orthogonal columns of given length have exactly these eigenvalues.
    basis, _ = torch.linalg.qr(torch.randn(200, 60, generator=generator).double())
    basis, _ = torch.linalg.qr(basis - basis.mean(0))
    exact = basis * torch.arange(1, 61) ** -0.55
    assert alpha_req(exact) == pytest.approx(1.1, rel=1e-6)
    assert alpha_req(exact[:, :20]) == pytest.approx(1.1, rel=1e-6)
    assert math.isnan(alpha_req(exact[:, :4])) and math.isnan(alpha_req(torch.ones(9, 9)))


def slow_lidar(views, delta):
    """Eq. 1 to 4 by loops over images and views."""
    images, count, dim = views.shape
    means = [np.mean(image, axis=0) for image in views]
    centre = np.mean(means, axis=0)
    between = sum(np.outer(m - centre, m - centre) for m in means) / (images - 1)
    within = sum(np.outer(v - m, v - m) for m, image in zip(means, views, strict=True) for v in image)
    root = np.linalg.inv(scipy.linalg.sqrtm(within / (images * (count - 1)) + delta * np.eye(dim)))
    values = np.linalg.svd(root @ between @ root, compute_uv=False)
    share = values / values.sum()
    return math.exp(-sum(p * math.log(p) for p in share if p > 1e-12))


@pytest.mark.parametrize("shape", [(30, 4, 8), (6, 3, 20)])
@pytest.mark.parametrize("delta", [1e-4, 0.5])
def test_lidar_equals_its_equations(shape, delta):
    rng = np.random.default_rng(0)
    spread = np.linspace(2, 0.1, shape[2])
    views = rng.normal(size=(shape[0], 1, shape[2])) * spread + 0.3 * rng.normal(size=shape) + 2
    assert lidar(torch.tensor(views), delta=delta) == pytest.approx(slow_lidar(views, delta), rel=1e-6)


def test_lidar_counts_the_directions_that_tell_images_apart():
    generator = torch.Generator().manual_seed(0)
    images = torch.zeros(400, 1, 16)
    images[:, 0, :3] = torch.randn(400, 3, generator=generator)
    noise = torch.randn(400, 20, 16, generator=generator)
    # RankMe counts the noise of the views, too.
    assert lidar(images + 1e-2 * noise) == pytest.approx(3, rel=0.02)
    assert lidar(images + noise * torch.tensor([0.01] * 3 + [1.0] * 13)) == pytest.approx(3, rel=0.02)
    assert rankme((images + noise * torch.tensor([0.01] * 3 + [1.0] * 13)).flatten(0, 1)) > 13
    assert lidar(torch.ones(5, 3, 4)) == 0


def test_alignment_and_uniformity_equal_loops_over_all_pairs():
    views = torch.randn(9, 4, 5, generator=torch.Generator().manual_seed(0)) + 0.5
    unit = [[view / view.norm() for view in image] for image in views.double()]
    pairs = [float((a - b).norm() ** 2) for image in unit for i, a in enumerate(image) for b in image[:i]]
    assert alignment(views) == pytest.approx(np.mean(pairs), rel=1e-9)
    first = [image[0] for image in unit]
    kernel = [math.exp(-2 * float((a - b).norm()) ** 2) for i, a in enumerate(first) for b in first[:i]]
    assert uniformity(views[:, 0]) == pytest.approx(math.log(np.mean(kernel)), rel=1e-9)
    assert alignment(views[:, :1].expand(-1, 3, -1)) == pytest.approx(0, abs=1e-12)
    assert uniformity(torch.ones(5, 3)) == pytest.approx(0, abs=1e-12)
    assert math.isnan(uniformity(torch.ones(1, 3)))


def test_uniformity_in_blocks(monkeypatch):
    features = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
    whole = uniformity(features)
    monkeypatch.setattr(quality, "CHUNK", 7)
    assert uniformity(features) == pytest.approx(whole, rel=1e-12)
    expected = (
        torch.pdist(torch.nn.functional.normalize(features.double())).square().mul(-2).exp().mean().log()
    )
    assert whole == pytest.approx(float(expected), rel=1e-9)


def test_figures_without_views():
    features, views = torch.randn(20, 6), torch.randn(8, 3, 6)
    alone, both = quality_figures(features, None), quality_figures(features, views)
    assert alone == {
        name: both[name] for name in ("feature_std", "feature_std_uniform", "rankme", "alpha_req")
    }
    assert (both["lidar"], both["alignment"]) == (lidar(views), alignment(views))
    assert both["uniformity"] == uniformity(views[:, 0])


def test_bad_shape():
    for measure in (rankme, alpha_req, uniformity, feature_std):
        with pytest.raises(ValueError, match="N, D"):
            measure(torch.zeros(3))
    for measure in (lidar, alignment):
        with pytest.raises(ValueError, match="N and Q of 2 or more"):
            measure(torch.zeros(3, 1, 4))

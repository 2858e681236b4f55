import math

import pytest
import torch

from ssl_ext.evaluation import feature_std, rankme


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


def test_bad_shape():
    with pytest.raises(ValueError, match="N, D"):
        rankme(torch.zeros(3))

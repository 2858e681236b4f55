"""Batch normalisation over parts of a batch, and its use in MoCo."""

import pytest
import torch
from mmengine.registry import init_default_scope
from torch import nn

from ssl_ext.models.utils import SplitBN
from ssl_ext.registry import MODELS

SPLITS = 4


def pair(channels=3):
    torch.manual_seed(0)
    split, plain = SplitBN(channels, num_splits=SPLITS).double(), nn.BatchNorm2d(channels).double()
    with torch.no_grad():
        plain.weight.uniform_(0.5, 2)
        plain.bias.normal_()
    split.load_state_dict(plain.state_dict())
    return split, plain


@pytest.mark.parametrize("shape", [(12, 3), (12, 3, 5, 4)])
def test_training_normalises_each_part_by_itself(shape):
    split, plain = pair()
    x = torch.randn(shape, dtype=torch.float64)
    expected = torch.empty_like(x)
    means, variances = [], []
    for part in range(SPLITS):
        rows = x[part::SPLITS]
        dims = [0, *range(2, x.ndim)]
        view = (1, 3) + (1,) * (x.ndim - 2)
        mean, variance = rows.mean(dims), rows.var(dims, unbiased=False)
        scale = (variance + split.eps).rsqrt() * plain.weight
        expected[part::SPLITS] = (rows - mean.view(view)) * scale.view(view) + plain.bias.view(view)
        means.append(mean)
        variances.append(rows.var(dims, unbiased=True))
    torch.testing.assert_close(split(x), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(split.running_mean, 0.1 * torch.stack(means).mean(0))
    torch.testing.assert_close(split.running_var, 0.9 + 0.1 * torch.stack(variances).mean(0))
    assert split.num_batches_tracked == 1


def test_gradients():
    split, _ = pair(channels=2)
    x = torch.randn(8, 2, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(split, x)


def test_evaluation_and_weights_are_those_of_plain_batch_normalisation():
    split, plain = pair()
    plain(torch.randn(20, 3, 2, 2, dtype=torch.float64) + 1)
    split.load_state_dict(plain.state_dict())
    x = torch.randn(5, 3, 2, 2, dtype=torch.float64)
    torch.testing.assert_close(split.eval()(x), plain.eval()(x))


def test_rows_of_other_parts_do_not_matter():
    split, _ = pair()
    x = torch.randn(8, 3, dtype=torch.float64)
    changed = x.clone()
    changed[1::SPLITS] += 5
    same = [row for row in range(8) if row % SPLITS != 1]
    assert torch.equal(split(x)[same], split(changed)[same])
    assert not torch.allclose(nn.BatchNorm1d(3).double()(x)[same], nn.BatchNorm1d(3).double()(changed)[same])


def test_a_backbone_takes_it_under_the_names_of_batch_normalisation_and_keeps_it_under_conversion():
    init_default_scope("ssl_ext")
    settings = dict(type="ResNet_CIFAR", depth=18, out_indices=(3,), base_channels=8, stem_channels=8)
    plain = MODELS.build(settings)
    split = MODELS.build(dict(settings, norm_cfg=dict(type="SplitBN", num_splits=SPLITS)))
    split.load_state_dict(plain.state_dict())
    split = nn.SyncBatchNorm.convert_sync_batchnorm(split)
    kinds = {type(module) for name, module in split.named_modules() if "bn" in name.split(".")[-1]}
    assert kinds == {SplitBN}


@pytest.mark.parametrize("rows", [4, 10])
def test_a_batch_that_cannot_be_split_is_refused(rows):
    split, _ = pair()
    with pytest.raises(ValueError, match=rf"{rows} images .* {SPLITS} equal parts .*batch_size"):
        split(torch.randn(rows, 3, dtype=torch.float64))


def test_a_number_of_splits_below_one_is_refused():
    with pytest.raises(ValueError, match=r"num_splits is 0"):
        SplitBN(3, num_splits=0)

"""The memory format of networks, also of those for which oneDNN writes beyond its buffers."""

import pytest
import torch
from torch import nn

from ssl_ext.models.utils.channels_last import protect_narrow, to_channels_last


@pytest.mark.parametrize(
    ("channels", "kernel", "stride", "last"),
    [(8, 1, 2, True), (4, 3, 2, True), (4, 1, 1, True), (7, 1, 2, False), (1, 1, (1, 2), False)],
)
def test_narrow_networks_keep_their_format(channels, kernel, stride, last):
    model = nn.Sequential(nn.Conv2d(3, channels, 3), nn.Conv2d(channels, 8, kernel, stride, kernel // 2))
    protect_narrow(model)
    to_channels_last(model)
    assert model[0].weight.is_contiguous(memory_format=torch.channels_last) == last
    images = torch.randn(4, 3, 12, 12).to(memory_format=torch.channels_last)
    features = model(images)
    features.square().sum().backward()
    assert features.is_contiguous(memory_format=torch.channels_last) == last

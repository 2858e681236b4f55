"""Mix Block+: a mixing mask from the feature maps of two samples (AMix, Sec. 3.2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_ext.losses.standardize import at_least_float32, full_precision

from .mask import per_sample

LAM_ENCODINGS = ("adaptive", "concat", "none")
CONTENTS = ("nonlinear", "linear")
ATTENTIONS = ("self", "cross")
UPSAMPLINGS = ("nearest", "bilinear")
DROPOUT = 0.1
INITIAL_STD = 0.01


class MixBlock(nn.Module):
    """Predict the weight of sample i at every pixel from the features of samples i and j and λ.

    Attention between the positions of both samples weights the content of i:
    s = U(sigmoid(P · content)), P = softmax(qᵀk / √channels) (Eq. 5). The defaults are Mix Block+ except
    for ``upsampling`` (the paper's is ``'bilinear'``); AutoMix's block is
    ``lam_encoding='concat', content='linear', attention='cross'``. Computes in float32 under autocast.

    Args:
        in_channels: C of the feature maps, at least 2.
        lam_encoding: ``'adaptive'`` scales the maps by 1 + γλ and 1 + γ(1 − λ) with a learned γ in [0, 1];
            ``'concat'`` appends λ and 1 − λ as channels; ``'none'``.
        content: ``'nonlinear'``: two 1×1 convolutions with batch normalisation, ReLU and dropout between
            them; ``'linear'``: one 1×1 convolution.
        attention: ``'self'``: queries and keys from the concatenated maps; ``'cross'``: queries from i and
            keys from j. Both share one convolution.
        upsampling: ``'nearest'`` or ``'bilinear'``.
        gamma_init: First γ, in [0, 1]: 0 as in the paper, where masks may not learn λ, or 1.
        sigmoid_first: Apply the sigmoid before the upsampling (Eq. 5) or after it.

    Raises:
        ValueError: Unknown option, fewer than 2 channels, or ``gamma_init`` out of range.

    >>> block = MixBlock(4)
    >>> mask = block(*torch.ones(2, 1, 4, 2, 2), 0.5, size=(8, 8))
    >>> mask.shape, mask.round(decimals=1).unique().tolist()
    (torch.Size([1, 1, 8, 8]), [0.5])
    """

    def __init__(
        self,
        in_channels: int,
        *,
        lam_encoding: str = "adaptive",
        content: str = "nonlinear",
        attention: str = "self",
        upsampling: str = "nearest",
        gamma_init: float = 0.0,
        sigmoid_first: bool = True,
    ) -> None:
        super().__init__()
        given = dict(
            lam_encoding=(lam_encoding, LAM_ENCODINGS),
            content=(content, CONTENTS),
            attention=(attention, ATTENTIONS),
            upsampling=(upsampling, UPSAMPLINGS),
        )
        for key, (value, allowed) in given.items():
            if value not in allowed:
                raise ValueError(f"mix_block.{key} is {value!r}; allowed are {', '.join(allowed)}.")
        if in_channels < 2:
            raise ValueError(f"mix_block.in_channels is {in_channels}; it must be at least 2.")
        self.lam_encoding, self.attention = lam_encoding, attention
        self.upsampling, self.sigmoid_first = upsampling, sigmoid_first
        if not 0 <= gamma_init <= 1:
            raise ValueError(f"mix_block.gamma_init is {gamma_init}; it must be from 0 to 1.")
        self.gamma = nn.Parameter(torch.full((), float(gamma_init))) if lam_encoding == "adaptive" else None
        if self.gamma is not None:
            # Read by the optimiser wrapper.
            vars(self.gamma)["bounds"] = (0.0, 1.0)
        encoded = in_channels + (lam_encoding == "concat")
        hidden = in_channels // 2
        if content == "nonlinear":
            self.content: nn.Module = nn.Sequential(
                nn.Conv2d(encoded, hidden, 1, bias=False),
                nn.BatchNorm2d(hidden),
                nn.ReLU(inplace=True),
                nn.Dropout(DROPOUT),
                nn.Conv2d(hidden, 1, 1),
            )
        else:
            self.content = nn.Conv2d(encoded, 1, 1)
        self.embedding = nn.Conv2d(encoded * (2 if attention == "self" else 1), hidden, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=INITIAL_STD)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(
        self, features_i: Tensor, features_j: Tensor, lam: Tensor | float, size: tuple[int, int]
    ) -> Tensor:
        """Return the mask s of sample i, where x_mix = s · x_i + (1 − s) · x_j.

        Args:
            features_i: (N, C, h, w).
            features_j: (N, C, h, w); row n is mixed with row n of ``features_i``.
            lam: Share of sample i in [0, 1], a scalar or (N,).
            size: (H, W) of the images.

        Returns:
            (N, 1, H, W) in [0, 1].
        """
        with full_precision(features_i):
            features_i, features_j = at_least_float32(features_i), at_least_float32(features_j)
            lam = per_sample(lam, features_i)
            z_i, z_j = self.encode(features_i, lam), self.encode(features_j, 1 - lam)
            content = self.content(z_i)
            spread = content.flatten(2) @ self.attend(z_i, z_j).transpose(1, 2)
            logits = spread.reshape(content.shape)
            if self.sigmoid_first:
                return self.upsample(logits.sigmoid(), size)
            return self.upsample(logits, size).sigmoid()

    def encode(self, features: Tensor, share: Tensor) -> Tensor:
        """Encode the share (N, 1, 1, 1) of a sample into its features (N, C, h, w)."""
        if self.gamma is not None:
            with torch.no_grad():  # projected gradient: a clamp in the graph has no gradient outside [0, 1]
                self.gamma.clamp_(0, 1)
            # Autograd saves the copy, which the next in-place clamp does not modify.
            return features * (1 + self.gamma.clone() * share)
        if self.lam_encoding == "concat":
            return torch.cat([features, share.expand(-1, 1, *features.shape[2:])], dim=1)
        return features

    def attend(self, z_i: Tensor, z_j: Tensor) -> Tensor:
        """Attention P (N, hw, hw) of every position over the positions of the content; rows sum to 1."""
        if self.attention == "self":
            queries = keys = self.embedding(torch.cat([z_i, z_j], dim=1)).flatten(2)
        else:
            queries, keys = self.embedding(z_i).flatten(2), self.embedding(z_j).flatten(2)
        return (queries.transpose(1, 2) @ keys / queries.shape[1] ** 0.5).softmax(dim=2)

    def upsample(self, maps: Tensor, size: tuple[int, int]) -> Tensor:
        """Resize maps (N, 1, h, w) to ``size``."""
        if self.upsampling == "nearest":
            return F.interpolate(maps, size=size, mode="nearest")
        return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)

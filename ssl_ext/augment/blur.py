"""Gaussian blur as batched matrix products, one standard deviation per sample."""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_ext.augment.base import Augmentation, Params, Shape, on_active
from ssl_ext.augment.planes import matmul_planes
from ssl_ext.augment.sampling import check_probability, check_range, spread

# The matrix of a long axis is mostly 0: from this side length on, blocks of it are multiplied instead.
LARGE = 128
BLOCK = 32


class GaussianBlur(Augmentation):
    """Blur each image with a Gaussian of ``kernel_size`` pixels with probability ``p``.

    Borders are reflected, so each image side must be longer than half the kernel. The standard
    deviation is uniform in ``sigma``, in pixels. Parameters drawn: ``active`` (N,), bool; ``sigma`` (N,).

    Raises ValueError for an even kernel, a sigma that is not positive, p outside [0, 1], small
    images.

    >>> GaussianBlur(3, sigma=(1.0, 1.0))(torch.ones(1, 1, 4, 4)).sum().round()
    tensor(16.)
    """

    draws = 2

    def __init__(self, kernel_size: int, sigma: tuple[float, float] = (0.1, 2.0), p: float = 1.0) -> None:
        super().__init__()
        if not isinstance(kernel_size, int) or kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"GaussianBlur.kernel_size must be an odd positive integer, got {kernel_size}")
        self.kernel_size = kernel_size
        self.sigma = check_range("GaussianBlur.sigma", sigma, 0.0)
        if self.sigma[0] == 0:
            raise ValueError(f"GaussianBlur.sigma must be larger than 0, got {sigma}")
        self.p = check_probability("GaussianBlur.p", p)

    def output_shape(self, shape: Shape) -> Shape:
        """Return ``shape``; ValueError if an image side is too short for the kernel."""
        if min(shape[2:]) <= self.kernel_size // 2:
            raise ValueError(
                f"GaussianBlur.kernel_size {self.kernel_size} needs images of more than "
                f"{self.kernel_size // 2} pixels a side, got {shape[2]} x {shape[3]}"
            )
        return shape

    def _params(self, numbers: Tensor, shape: Shape) -> Params:
        return {"active": numbers[0] < self.p, "sigma": spread(numbers[1], *self.sigma)}

    def _transform_planes(self, planes: Tensor, params: Params) -> Tensor:
        return on_active(self._blur, planes, params)

    def _blur(self, planes: Tensor, params: Params) -> Tensor:
        weights = gaussian_weights(params["sigma"], self.kernel_size)
        height, width = planes.shape[2:]
        if min(height, width) >= LARGE:
            return blur_in_blocks(planes, weights)
        rows = blur_matrix(weights, height)
        columns = rows if width == height else blur_matrix(weights, width)
        return matmul_planes(rows, planes, columns)


def gaussian_weights(sigma: Tensor, kernel_size: int) -> Tensor:
    """Return normalised Gaussian weights (N, kernel_size) for sigma (N,) in pixels.

    >>> gaussian_weights(torch.tensor([1.0]), 3)
    tensor([[0.2741, 0.4519, 0.2741]])
    """
    offset = torch.arange(kernel_size, device=sigma.device) - kernel_size // 2
    weights = (offset / sigma.unsqueeze(1)).square_().mul_(-0.5).exp_()
    return weights / weights.sum(1, keepdim=True)


def blur_in_blocks(planes: Tensor, weights: Tensor) -> Tensor:
    """Filter both reflected axes of planes (C, N, H, W), which are overwritten, with weights (N, K).

    ``BLOCK`` outputs of an axis depend on BLOCK + K − 1 inputs, by a matrix that is the same for all blocks.
    """
    (_, n, height, width), (_, taps) = planes.shape, weights.shape
    window, reach = BLOCK + taps - 1, taps // 2
    band = weights.new_zeros(n, BLOCK, window)
    diagonals = band.as_strided((n, BLOCK, taps), (BLOCK * window, window + 1, 1))
    diagonals.copy_(weights.unsqueeze(1).expand_as(diagonals))
    # Padding at the bottom and on the right completes the last block.
    rest = [-size % BLOCK for size in (width, height)]
    for plane in planes:
        padded = F.pad(plane, (reach,) * 4, mode="reflect")
        padded = F.pad(padded, (0, rest[0], 0, rest[1]))
        blocks = padded.unfold(1, window, BLOCK).transpose(2, 3)
        rows = torch.matmul(band.unsqueeze(1), blocks).flatten(1, 2)
        windows = rows.unfold(2, window, BLOCK).flatten(1, 2)
        filtered = torch.bmm(windows, band.transpose(1, 2)).view(n, rows.shape[1], -1)
        plane.copy_(filtered[:, :height, :width])
    return planes


def blur_matrix(weights: Tensor, size: int) -> Tensor:
    """Return matrices (N, size, size) that filter one reflected axis with weights (N, K)."""
    places = _tap_places(weights.shape[1], size, weights.device)
    return (weights @ places).view(-1, size, size)


@lru_cache(maxsize=16)
def _tap_places(kernel_size: int, size: int, device: torch.device) -> Tensor:
    """Return (K, size²): tap k of output o reads input i, as 0 or 1 at [k, o size + i]."""
    tap = torch.arange(kernel_size).view(-1, 1) - kernel_size // 2
    place = torch.arange(size) + tap
    last = size - 1
    # Reflection without repeating the border: -1 reads 1, size reads size - 2.
    place = last - (last - place.abs()).abs()
    return F.one_hot(place, size).float().flatten(1).to(device, non_blocking=True)

"""Memory layout of the operations, and checks of input images.

Inside a sequence images are "planes" (C, N, H, W), float32, contiguous. Each channel of the batch is one
contiguous block, so colour arithmetic runs over long vectors and batched matrix products per channel need no
copy. A sequence converts images to planes and back once.
"""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def check_images(images: Tensor) -> None:
    """Raise TypeError or ValueError unless ``images`` is (N, C, H, W), uint8 or floating point."""
    if not isinstance(images, Tensor):
        raise TypeError(
            f"images must be a tensor (N, C, H, W), got {type(images).__name__}; "
            "convert arrays with torch.from_numpy"
        )
    if images.ndim != 4:
        raise ValueError(
            f"images must be a batch (N, C, H, W), got {images.ndim} dimensions {tuple(images.shape)}"
        )
    if images.dtype != torch.uint8 and not images.is_floating_point():
        raise TypeError(f"images must be uint8, or floating point in [0, 1], got {images.dtype}")


def to_planes(images: Tensor) -> Tensor:
    """Return a float32 copy (C, N, H, W) in [0, 1] of images (N, C, H, W)."""
    n, c, h, w = images.shape
    planes = torch.empty((c, n, h, w), dtype=torch.float32, device=images.device)
    planes.copy_(images.permute(1, 0, 2, 3))
    return planes.div_(255) if images.dtype == torch.uint8 else planes


def from_planes(planes: Tensor) -> Tensor:
    """Return contiguous images (N, C, H, W) of planes (C, N, H, W)."""
    return planes.permute(1, 0, 2, 3).contiguous()


def matmul_planes(rows: Tensor, planes: Tensor, columns: Tensor) -> Tensor:
    """Return ``rows[n] @ planes[c, n] @ columns[n].T`` for every channel c and sample n.

    ``rows`` (N, H', H) and ``columns`` (N, W', W) act along height and width of planes (C, N, H, W),
    which are overwritten by a result of the same shape: page faults of fresh memory take a fifth of the
    time. One batched product per channel, as broadcasting over channels would copy the matrices.
    """
    c, n, _, width = planes.shape
    shape = c, n, rows.shape[1], columns.shape[1]
    result = planes if shape == planes.shape else planes.new_empty(shape)
    between = planes.new_empty((n, rows.shape[1], width))
    for plane, out in zip(planes, result, strict=True):
        torch.bmm(rows, plane, out=between)
        torch.bmm(between, columns.transpose(1, 2), out=out)
    return result


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Return a context without autocast, which would round matrix products to 8 or 11 bits."""
    if torch.amp.is_autocast_available(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()

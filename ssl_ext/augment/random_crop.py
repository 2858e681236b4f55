"""Random crop of padded images."""

from typing import Literal

import torch
from torch import Tensor

from ssl_ext.augment.base import Augmentation, Params, Shape
from ssl_ext.augment.sampling import check_size, whole


class RandomCrop(Augmentation):
    """Pad each image by ``padding`` pixels on all sides and crop ``size`` at a random place.

    ``size`` is that of the image by default. ``padding_mode`` is 'reflect' (without repeating the border) or
    'zeros'. Images (N, C, H, W) become (N, C, *size). Parameters drawn: ``top``, ``left`` (N,), int64, in
    pixels of the padded image.

    Raises ValueError for a negative padding, another mode, a size larger than the padded image, or
    a reflected padding that is not smaller than the image sides.

    >>> RandomCrop(32, padding=4)(torch.rand(2, 3, 32, 32)).shape
    torch.Size([2, 3, 32, 32])
    """

    draws = 2

    def __init__(
        self,
        size: int | tuple[int, int] | None = None,
        padding: int = 0,
        padding_mode: Literal["reflect", "zeros"] = "reflect",
    ) -> None:
        super().__init__()
        self.size = None if size is None else check_size("RandomCrop.size", size)
        if not isinstance(padding, int) or padding < 0:
            raise ValueError(f"RandomCrop.padding must be an integer of at least 0, got {padding}")
        if padding_mode not in ("reflect", "zeros"):
            raise ValueError(f"RandomCrop.padding_mode must be 'reflect' or 'zeros', got {padding_mode!r}")
        self.padding = padding
        self.padding_mode = padding_mode

    def output_shape(self, shape: Shape) -> Shape:
        """Return (N, C, *size); ValueError if the padded images are too small."""
        height, width = shape[2:]
        if self.padding_mode == "reflect" and self.padding >= min(height, width):
            raise ValueError(
                f"RandomCrop.padding {self.padding} cannot be reflected in images of "
                f"{height} x {width} pixels: it must be smaller than each side"
            )
        size = self.size or (height, width)
        if size[0] > height + 2 * self.padding or size[1] > width + 2 * self.padding:
            raise ValueError(
                f"RandomCrop.size {size} is larger than images of {height} x {width} pixels "
                f"with padding {self.padding}"
            )
        return (shape[0], shape[1], *size)

    def _params(self, numbers: Tensor, shape: Shape) -> Params:
        sizes = zip(shape[2:], self.size or shape[2:], strict=True)
        places = (side + 2 * self.padding - out + 1 for side, out in sizes)
        top, left = map(whole, numbers, places)
        return {"top": top, "left": left}

    def _transform_planes(self, planes: Tensor, params: Params) -> Tensor:
        height, width = self.size or planes.shape[2:]
        rows, row_inside = self._pixels(params["top"], planes.shape[2], height)
        columns, column_inside = self._pixels(params["left"], planes.shape[3], width)
        sample = torch.arange(planes.shape[1], device=planes.device).view(-1, 1, 1)
        crops = planes[:, sample, rows.unsqueeze(2), columns.unsqueeze(1)]
        if self.padding_mode == "zeros":
            crops *= row_inside.unsqueeze(2) & column_inside.unsqueeze(1)
        return crops

    def _pixels(self, start: Tensor, in_size: int, out_size: int) -> tuple[Tensor, Tensor]:
        """Return the input pixel of each output pixel, and whether it is inside, (N, out_size)."""
        place = start.unsqueeze(1) + torch.arange(out_size, device=start.device) - self.padding
        last = in_size - 1
        if self.padding_mode == "reflect":
            place = last - (last - place.abs()).abs()
        inside = (place >= 0) & (place <= last)
        return place.clamp(0, last), inside

"""Random rotation about the image centre."""

import torch
from torch import Tensor
from torch.nn import functional

from ssl_ext.augment.base import Augmentation, Params, Shape
from ssl_ext.augment.sampling import check_range, spread


class RandomRotation(Augmentation):
    """Rotate each image counter-clockwise by a random angle, bilinear, black outside.

    A number d means angles uniform in [-d, d] degrees; a pair gives the range itself.
    Parameters drawn: ``angle`` (N,), in degrees. Raises ValueError for degrees outside [-360, 360].

    >>> image = torch.tensor([[[[0.0, 1.0], [0.0, 0.0]]]])
    >>> RandomRotation((90, 90))(image).round().flatten()
    tensor([1., 0., 0., 0.])
    """

    draws = 1

    def __init__(self, degrees: float | tuple[float, float]) -> None:
        super().__init__()
        if isinstance(degrees, (int, float)):
            if degrees < 0:
                raise ValueError(f"RandomRotation.degrees must not be negative, got {degrees}")
            degrees = (-degrees, degrees)
        self.degrees = check_range("RandomRotation.degrees", degrees, -360.0, 360.0)

    def _params(self, numbers: Tensor, shape: Shape) -> Params:
        return {"angle": spread(numbers[0], *self.degrees)}

    def _transform_planes(self, planes: Tensor, params: Params) -> Tensor:
        images = planes.permute(1, 0, 2, 3)
        grid = rotation_grid(params["angle"], planes.shape[2], planes.shape[3])
        rotated = functional.grid_sample(images, grid, mode="bilinear", align_corners=False)
        return rotated.permute(1, 0, 2, 3).contiguous()


def rotation_grid(angle: Tensor, height: int, width: int) -> Tensor:
    """Return the sampling grid (N, H, W, 2) for ``grid_sample``."""
    radians = torch.deg2rad(angle).view(-1, 1, 1)
    cosine, sine = radians.cos(), radians.sin()
    x = torch.arange(width, device=angle.device) - (width - 1) / 2
    y = (torch.arange(height, device=angle.device) - (height - 1) / 2).unsqueeze(1)
    across = (cosine * x - sine * y) * (2 / width)
    down = (sine * x + cosine * y) * (2 / height)
    return torch.stack((across, down), -1)

"""Sequence of augmentations with one conversion to planes and back."""

from collections.abc import Iterable, Iterator, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from ssl_ext.augment.base import Augmentation, Params, Shape, shape_of
from ssl_ext.augment.flip import RandomHorizontalFlip
from ssl_ext.augment.planes import check_images, from_planes, full_precision, to_planes
from ssl_ext.augment.resized_crop import RandomResizedCrop


class AugmentationSequence(nn.Module):
    """Apply augmentations in order to images (N, C, H, W); nested sequences are flattened.

    A ``RandomHorizontalFlip`` right after a ``RandomResizedCrop`` is folded into the matrices of the crop and
    costs nothing. Draws and results equal those of the separate operations.

    Reproducibility: the same seed of the generator gives the same views on the CPU, and with a CPU
    generator the same parameters on every device. If each process has its own generator (seeded with
    seed + rank), the views of a sample depend on the number of processes.

    Raises TypeError for a member that is not an augmentation.

    >>> views = AugmentationSequence([RandomResizedCrop(8), RandomHorizontalFlip()])
    >>> views(torch.zeros(2, 3, 16, 16, dtype=torch.uint8), torch.Generator().manual_seed(0)).shape
    torch.Size([2, 3, 8, 8])
    """

    def __init__(self, transforms: Iterable[nn.Module]) -> None:
        super().__init__()
        members: list[Augmentation] = []
        for position, member in enumerate(transforms):
            if isinstance(member, AugmentationSequence):
                members.extend(member)
            elif isinstance(member, Augmentation):
                members.append(member)
            else:
                raise TypeError(
                    f"transforms[{position}] must be an augmentation of ssl_ext.augment, "
                    f"got {type(member).__name__}"
                )
        self.transforms = nn.ModuleList(members)

    def __iter__(self) -> Iterator[Augmentation]:
        return (cast(Augmentation, member) for member in self.transforms)

    def __len__(self) -> int:
        return len(self.transforms)

    @torch.no_grad()
    def forward(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return float32 views of images (uint8 or floating point in [0, 1]), one draw each.

        Raises TypeError for another dtype and ValueError for a shape that a member cannot take.
        """
        check_images(images)
        params = self.draw(shape_of(images), generator=generator, device=images.device)
        return self.transform(images, params)

    def output_shape(self, shape: Shape) -> Shape:
        """Return the output shape for images of ``shape``; ValueError if a member cannot take it."""
        for member in self:
            shape = member.output_shape(shape)
        return shape

    def draw(
        self,
        shape: Shape,
        *,
        generator: torch.Generator | None = None,
        device: torch.device | str = "cpu",
        views: int = 1,
    ) -> list[Params]:
        """Return the parameters of each member for ``views`` views of images of ``shape``, on ``device``.

        Rows (views N,) are ordered by view. The CPU draws view by view and member by member, as separate
        calls would; an accelerator draws all uniform numbers at once.
        """
        device = torch.device(device)
        source = device if generator is None else generator.device
        params = []
        for member, numbers in zip(self, self.numbers(shape[0], generator, source, views), strict=True):
            next_shape = member.output_shape(shape)
            params.append(member.moved(member._params(numbers, shape), device))
            shape = next_shape
        return params

    def numbers(
        self, n: int, generator: torch.Generator | None, device: torch.device, views: int = 1
    ) -> Sequence[Tensor]:
        """Return uniform random numbers (draws, views n) for each member, drawn on ``device``."""
        if device.type != "cpu":
            draws = [member.draws for member in self]
            return torch.rand((sum(draws), views * n), generator=generator, device=device).split(draws)
        drawn = [[member.numbers(n, generator, device) for member in self] for _ in range(views)]
        return drawn[0] if views == 1 else [torch.cat(parts, 1) for parts in zip(*drawn, strict=True)]

    @torch.no_grad()
    def transform(self, images: Tensor, params: list[Params]) -> Tensor:
        """Apply the members with parameters from ``draw``; ``images`` are not modified."""
        check_images(images)
        self.output_shape(shape_of(images))
        with full_precision(images.device):
            planes = to_planes(images)
            for member, own in self._folded(params):
                planes = member._transform_planes(planes, own)
            return from_planes(planes)

    def _folded(self, params: list[Params]) -> list[tuple[Augmentation, Params]]:
        steps: list[tuple[Augmentation, Params]] = []
        for member, own in zip(self, params, strict=True):
            if isinstance(member, RandomHorizontalFlip) and steps:
                crop, crop_params = steps[-1]
                if isinstance(crop, RandomResizedCrop) and "flip" not in crop_params:
                    steps[-1] = crop, {**crop_params, "flip": own["active"]}
                    continue
            steps.append((member, own))
        return steps

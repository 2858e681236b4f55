"""Base class of augmentations: draw parameters per sample, then apply them."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ssl_ext.augment.planes import check_images, from_planes, full_precision, to_planes

Params = dict[str, Tensor]
Shape = tuple[int, int, int, int]


class Augmentation(nn.Module):
    """One random operation on a batch of images: ``forward`` is ``draw`` followed by ``transform``.

    Subclasses define ``draws`` and ``_params`` (the random parameters), ``_transform_planes`` (the operation)
    and, if they change or restrict the shape, ``output_shape``.
    """

    draws = 0
    """Uniform random numbers per image."""

    channels: tuple[int, ...] | None = None
    """Channel counts the operation is defined for; None for any."""

    @torch.no_grad()
    def forward(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return float32 images (N, C, H', W') of images (N, C, H, W), each with its own draw.

        ``images`` are uint8, or floating point in [0, 1] (the range is not checked, as that would be
        a host sync). ``generator`` may be on the CPU with images on another device; the default is the
        global generator of the images' device. No gradients are computed.

        Raises TypeError for another dtype and ValueError for a shape the operation cannot take.
        """
        check_images(images)
        params = self.draw(shape_of(images), generator=generator, device=images.device)
        return self.transform(images, params)

    def draw(
        self,
        shape: Shape,
        *,
        generator: torch.Generator | None = None,
        device: torch.device | str = "cpu",
    ) -> Params:
        """Return one draw of the parameters for images of ``shape`` (N, C, H, W) on ``device``.

        Numbers are drawn on the generator's device and copied asynchronously, so a CPU generator gives
        the same draw for images on every device.
        """
        self.output_shape(shape)
        device = torch.device(device)
        source = device if generator is None else generator.device
        return self.moved(self._params(self.numbers(shape[0], generator, source), shape), device)

    def numbers(self, n: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
        """Return random numbers (draws, n), uniform in [0, 1), on ``device``, that of ``generator``."""
        return torch.rand((self.draws, n), generator=generator, device=device)

    @staticmethod
    def moved(params: Params, device: torch.device) -> Params:
        """Return the parameters on ``device``, copied asynchronously."""
        return {name: _move(value, device) for name, value in params.items()}

    @torch.no_grad()
    def transform(self, images: Tensor, params: Params) -> Tensor:
        """Apply the operation with parameters from ``draw``; ``images`` are not modified."""
        check_images(images)
        self.output_shape(shape_of(images))
        with full_precision(images.device):
            return from_planes(self._transform_planes(to_planes(images), params))

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape that ``shape`` becomes; ValueError if the operation cannot take it."""
        if self.channels is not None and shape[1] not in self.channels:
            allowed = " or ".join(str(count) for count in self.channels)
            raise ValueError(
                f"{type(self).__name__} takes images with {allowed} channels, got {shape[1]} "
                f"(images are (N, C, H, W), here {tuple(shape)})"
            )
        return shape

    def extra_repr(self) -> str:
        """Return the settings, for ``repr``."""
        state = ("training", "draws")
        settings = {k: v for k, v in vars(self).items() if k not in state and k[0] != "_"}
        return ", ".join(f"{name}={value!r}" for name, value in settings.items())

    def _params(self, numbers: Tensor, shape: Shape) -> Params:
        """Return the parameters from ``numbers`` (draws, N), which may be overwritten, for ``shape``."""
        return {}

    def _transform_planes(self, planes: Tensor, params: Params) -> Tensor:
        """Apply to planes (C, N, H, W), float32 in [0, 1], contiguous, which may be overwritten."""
        raise NotImplementedError


def on_active(operation: Callable[[Tensor, Params], Tensor], planes: Tensor, params: Params) -> Tensor:
    """Apply ``operation``, which may overwrite its input, to the active samples of ``planes``.

    On the CPU only those samples are computed. On other devices their number would need a host sync, so all
    samples are computed and a mask selects.
    """
    active = params["active"]
    if not planes.is_cpu:
        return torch.where(active.view(1, -1, 1, 1), operation(planes.clone(), params), planes)
    rows = active.nonzero().squeeze(1)
    if rows.numel() == 0:
        return planes
    if rows.numel() == active.numel():
        return operation(planes, params)
    chosen = {name: value[rows] for name, value in params.items()}
    result = operation(planes.index_select(1, rows), chosen)
    return planes.index_copy_(1, rows, result)


def shape_of(images: Tensor) -> Shape:
    """Return the shape of a batch of images as a tuple of four."""
    n, c, h, w = images.shape
    return n, c, h, w


def _move(value: Tensor, device: torch.device) -> Tensor:
    if value.device == device:
        return value
    # Copies are asynchronous only from pinned memory.
    if device.type == "cuda" and value.is_cpu:
        value = value.pin_memory()
    return value.to(device, non_blocking=True)

"""Arrays of images as uint8 (N, C, H, W)."""

import numpy as np

LAYOUTS = ("NHWC", "NCHW", "NHW")
ROUNDING = 1.001e-3  # tolerance of float images outside [0, 1]: 1e-3 as rounded in half precision


def to_uint8(images: np.ndarray) -> np.ndarray:
    """Integers from 0 to 255 of any dtype, or floats in [0, 1], as uint8.

    Raises:
        ValueError: another dtype, or a value out of range.
    """
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind not in "fiu":
        raise ValueError(f"images must be integers from 0 to 255, or floats in [0, 1], got {images.dtype}")
    low, high = images.min(initial=0), images.max(initial=0)
    if images.dtype.kind != "f":
        if low < 0 or high > 255:
            raise ValueError(f"integer images must lie in 0 to 255, got values from {low} to {high}")
        return images.astype(np.uint8)
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError("images hold NaN or infinite values")
    if float(low) < -ROUNDING or float(high) > 1 + ROUNDING:
        raise ValueError(f"float images must lie in [0, 1], got values from {low:g} to {high:g}")
    if low < 0 or high > 1:
        images = images.clip(0, 1)
    return np.rint(images * np.float32(255)).astype(np.uint8)


def to_nchw(images: np.ndarray, layout: str | None) -> np.ndarray:
    """Images of a layout in :data:`LAYOUTS` as (N, C, H, W); None infers it from the shape.

    Raises:
        ValueError: an unknown layout, or a shape that does not fit it, or fits several.
    """
    if layout is None:
        layout = _find_layout(images.shape)
    elif layout not in LAYOUTS:
        raise ValueError(f"dataset.layout must be one of {LAYOUTS}, got {layout!r}")
    if images.ndim != len(layout):
        raise ValueError(f"images of shape {images.shape} do not have the layout {layout}")
    if layout == "NHW":
        images = images[:, None]
    elif layout == "NHWC":
        images = images.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(images)


def _find_layout(shape: tuple[int, ...]) -> str:
    if len(shape) == 3:
        return "NHW"
    fitting = []
    if len(shape) == 4:
        fitting = [name for name in ("NHWC", "NCHW") if 1 <= shape[name.index("C")] <= 4]
    if len(fitting) == 1:
        return fitting[0]
    reason = "fits several layouts" if fitting else "fits no layout"
    raise ValueError(f"shape {shape} {reason}; give one of {LAYOUTS} (config key: dataset.layout)")

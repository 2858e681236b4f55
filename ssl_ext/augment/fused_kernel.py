"""Triton kernel that makes all views of a batch in one launch; each program makes one view of one image.

A program draws its parameters, crops by two matrix products, and does jitter in its own order, grayscale,
blur, solarisation and normalisation without intermediate results in global memory. The mean for contrast is a
sum within the program, and the branches for the order of colour operations are uniform within it.
"""

# mypy: disable-error-code="no-untyped-def, unused-ignore"
# ruff: noqa: SIM102
# Nested conditions: the outer ones are compile-time constants, the inner ones are not.

import triton
import triton.language as tl

# Indices in the table of settings, after the codes of the 24 orders of jitter.
CROP_SETTINGS: tl.constexpr = tl.constexpr(24)
BEFORE_P: tl.constexpr = tl.constexpr(28)
AFTER_P: tl.constexpr = tl.constexpr(29)
JITTER_SETTINGS: tl.constexpr = tl.constexpr(30)
GRAY_P: tl.constexpr = tl.constexpr(39)
BLUR_SETTINGS: tl.constexpr = tl.constexpr(40)
SOLARIZE_SETTINGS: tl.constexpr = tl.constexpr(43)


@triton.jit
def _luminance(r, g, b, C: tl.constexpr):
    return r if C == 1 else r * 0.2989 + g * 0.587 + b * 0.114


@triton.jit
def _clamp(x):
    return tl.minimum(tl.maximum(x, 0.0), 1.0)


@triton.jit
def _turn_hue(r, g, b, shift):
    # As color._turn_hue_.
    high, low = tl.maximum(g, b), tl.minimum(g, b)
    middle, largest = tl.minimum(r, high), tl.maximum(r, high)
    smallest = tl.minimum(middle, low)
    chroma = largest - smallest
    green_below, red_below = (g < b).to(tl.float32), (r < high).to(tl.float32)
    offset = green_below * red_below * 12 - green_below * 6 - red_below * 2
    hue = tl.abs(offset + (middle - low) / tl.maximum(chroma, 1e-20)) / 6 + (shift + 1)
    hue = (hue - tl.floor(hue)) * 6
    red = smallest - chroma + chroma * tl.minimum(tl.maximum(tl.abs(hue - 3), 1.0), 2.0)
    top = smallest + 2 * chroma
    green = top - chroma * tl.minimum(tl.maximum(tl.abs(hue - 2), 1.0), 2.0)
    blue = top - chroma * tl.minimum(tl.maximum(tl.abs(hue - 4), 1.0), 2.0)
    return red, green, blue


@triton.jit
def _blend(x, factor, target):
    return _clamp(x * factor + target * (1 - factor))


@triton.jit
def _resize_axis(
    start, length, flip, out: tl.constexpr, size: tl.constexpr, OUT: tl.constexpr, IN: tl.constexpr
):
    """Return ``resize_matrix`` of one axis, (OUT, IN): powers of two of at least ``out`` and ``size``."""
    output = tl.arange(0, OUT).to(tl.float32) + 0.5
    output = tl.where(flip, out - output, output)
    scale = length.to(tl.float32) / out
    centre = start.to(tl.float32) + scale * output
    pixel = tl.arange(0, IN)
    inside = ((pixel >= start) & (pixel < start + length)).to(tl.float32)
    distance = tl.abs(centre[:, None] - (pixel.to(tl.float32)[None, :] + 0.5)) / tl.maximum(scale, 1.0)
    weights = inside[None, :] * (1 - tl.minimum(distance, 1.0))
    return weights / tl.maximum(tl.sum(weights, 1)[:, None], 1e-20)


@triton.jit
def _padded_axis(start, flip, out: tl.constexpr, size: tl.constexpr, OUT: tl.constexpr, IN: tl.constexpr,
                 PADDING: tl.constexpr, REFLECT: tl.constexpr):  # fmt: skip
    """Return a 0/1 matrix (OUT, IN): the input pixel, if any, of each output pixel of ``RandomCrop``."""
    output = tl.arange(0, OUT)
    place = start + tl.where(flip, out - 1 - output, output) - PADDING
    if REFLECT:
        place = size - 1 - tl.abs(size - 1 - tl.abs(place))
    return (place[:, None] == tl.arange(0, IN)[None, :]).to(tl.float32)


@triton.jit
def _gaussian(distance, sigma, REACH: tl.constexpr):
    scaled = distance.to(tl.float32) / sigma
    return tl.where(tl.abs(distance) <= REACH, tl.exp(-0.5 * scaled * scaled), 0.0)


@triton.jit
def _blur_axis(sigma, size: tl.constexpr, PADDED: tl.constexpr, REACH: tl.constexpr):
    """Return ``blur_matrix`` of one axis, (PADDED, PADDED), with reflection at both ends."""
    output, pixel = tl.arange(0, PADDED)[:, None], tl.arange(0, PADDED)[None, :]
    left = tl.where(pixel > 0, _gaussian(-pixel - output, sigma, REACH), 0.0)
    right = tl.where(pixel < size - 1, _gaussian(2 * (size - 1) - pixel - output, sigma, REACH), 0.0)
    weights = tl.where(pixel < size, _gaussian(pixel - output, sigma, REACH) + left + right, 0.0)
    return weights / tl.maximum(tl.sum(weights, 1)[:, None], 1e-20)


@triton.jit
def _sandwich(rows, plane, columns):
    # TF32 would round the pixels to 11 bits.
    return tl.dot(tl.dot(rows, plane, input_precision="ieee"), columns, input_precision="ieee")


@triton.jit
def _box(numbers, rows, settings, H: tl.constexpr, W: tl.constexpr,
         CENTRAL_H: tl.constexpr, CENTRAL_W: tl.constexpr):  # fmt: skip
    """Return the box of ``RandomResizedCrop`` from 22 random numbers: top, left, height, width."""
    tries = tl.arange(0, 16)
    tried = tries < 10
    area = (tl.load(numbers + tries * rows, tried, 0.0) * tl.load(settings + 1) + tl.load(settings)) * (H * W)
    aspect = tl.load(numbers + (tries + 10) * rows, tried, 0.0)
    aspect = tl.exp(aspect * tl.load(settings + 3) + tl.load(settings + 2))
    heights = tl.floor(tl.sqrt_rn(tl.div_rn(area, aspect)) + 0.5).to(tl.int32)
    widths = tl.floor(tl.sqrt_rn(area * aspect) + 0.5).to(tl.int32)
    fits = tried & (heights > 0) & (heights <= H) & (widths > 0) & (widths <= W)
    first = tl.min(tl.where(fits, tries, 16), 0)
    none_fits = first == 16
    height = tl.where(none_fits, CENTRAL_H, tl.sum(tl.where(tries == first, heights, 0), 0))
    width = tl.where(none_fits, CENTRAL_W, tl.sum(tl.where(tries == first, widths, 0), 0))
    top = _whole(numbers + 20 * rows, H - height + 1)
    left = _whole(numbers + 21 * rows, W - width + 1)
    top = tl.where(none_fits, (H - height) // 2, top)
    left = tl.where(none_fits, (W - width) // 2, left)
    return top, left, height, width


@triton.jit
def _whole(number, count):
    return tl.minimum((tl.load(number) * count).to(tl.int32), count - 1)


@triton.jit
def _spread(number, settings):
    return tl.load(number) * tl.load(settings + 1) + tl.load(settings)


@triton.jit
def views_kernel(images, out, numbers, settings, mean, std, n, row_stride, channel_stride,
                 C: tl.constexpr, H: tl.constexpr, W: tl.constexpr, h: tl.constexpr, w: tl.constexpr,
                 PH: tl.constexpr, PW: tl.constexpr, Ph: tl.constexpr, Pw: tl.constexpr,
                 BEFORE: tl.constexpr, CROP: tl.constexpr, CENTRAL_H: tl.constexpr, CENTRAL_W: tl.constexpr,
                 PADDED_CROP: tl.constexpr, PADDING: tl.constexpr, REFLECT: tl.constexpr, AFTER: tl.constexpr,
                 JITTER: tl.constexpr, F0: tl.constexpr, F1: tl.constexpr, F2: tl.constexpr, F3: tl.constexpr,
                 GRAY: tl.constexpr, BLUR: tl.constexpr, REACH: tl.constexpr, SOLARIZE: tl.constexpr,
                 MEANS: tl.constexpr):  # fmt: skip
    """Write view ``program_id`` of image ``program_id % n``.

    ``images`` (n, C, H, W) uint8; ``out`` float32, its pixels (h, w) contiguous, its other strides given;
    ``numbers`` (draws, views) uniform in [0, 1). BEFORE … SOLARIZE are the first row of numbers of each
    operation, -1 if the sequence lacks it; F0 … F3 those of the factors of jitter. PH … Pw are powers
    of two of at least 16. MEANS is the number of means, 0 for no normalisation.
    """
    row = tl.program_id(0)
    rows = tl.num_programs(0)
    drawn = numbers + row
    flip = False
    total_width: tl.constexpr = W + 2 * PADDING
    top, left = tl.full((), 0, tl.int32), tl.full((), 0, tl.int32)
    height, width = tl.full((), H, tl.int32), tl.full((), W, tl.int32)
    if CROP >= 0:
        top, left, height, width = _box(
            drawn + CROP * rows, rows, settings + CROP_SETTINGS, H, W, CENTRAL_H, CENTRAL_W
        )
    if PADDED_CROP >= 0:
        top = _whole(drawn + PADDED_CROP * rows, H + 2 * PADDING - h + 1)
        left = _whole(drawn + (PADDED_CROP + 1) * rows, total_width - w + 1)
        width = tl.full((), w, tl.int32)
    if BEFORE >= 0:
        # Cropping a mirrored image equals mirroring the crop from the other side.
        flip = tl.load(drawn + BEFORE * rows) < tl.load(settings + BEFORE_P)
        left = tl.where(flip, total_width - width - left, left)
    if AFTER >= 0:
        flip = flip ^ (tl.load(drawn + AFTER * rows) < tl.load(settings + AFTER_P))
    if PADDED_CROP >= 0:
        R = _padded_axis(top, False, h, H, Ph, PH, PADDING, REFLECT)
        K = tl.trans(_padded_axis(left, flip, w, W, Pw, PW, PADDING, REFLECT))
    else:
        R = _resize_axis(top, height, False, h, H, Ph, PH)
        K = tl.trans(_resize_axis(left, width, flip, w, W, Pw, PW))

    y, x = tl.arange(0, PH)[:, None], tl.arange(0, PW)[None, :]
    source = images + (row % n).to(tl.int64) * C * H * W + y * W + x
    fits = (y < H) & (x < W)
    r = _sandwich(R, tl.load(source, fits, 0).to(tl.float32) / 255, K)
    g, b = r, r
    if C == 3:
        g = _sandwich(R, tl.load(source + H * W, fits, 0).to(tl.float32) / 255, K)
        b = _sandwich(R, tl.load(source + 2 * H * W, fits, 0).to(tl.float32) / 255, K)

    oy, ox = tl.arange(0, Ph)[:, None], tl.arange(0, Pw)[None, :]
    kept = (oy < h) & (ox < w)
    if JITTER >= 0:
        if tl.load(drawn + JITTER * rows) < tl.load(settings + JITTER_SETTINGS):
            code = tl.load(settings + _whole(drawn + (JITTER + 1) * rows, 24)).to(tl.int32)
            f0 = _spread(drawn + F0 * rows, settings + JITTER_SETTINGS + 1)
            f1 = _spread(drawn + F1 * rows, settings + JITTER_SETTINGS + 3)
            f2 = _spread(drawn + F2 * rows, settings + JITTER_SETTINGS + 5)
            f3 = _spread(drawn + F3 * rows, settings + JITTER_SETTINGS + 7)
            for step in range(4):
                operation = (code >> (3 * step)) & 7
                if operation == 0:
                    r, g, b = _clamp(r * f0), _clamp(g * f0), _clamp(b * f0)
                elif operation == 1:
                    luminance = tl.where(kept, _luminance(r, g, b, C), 0.0)
                    target = tl.sum(tl.sum(luminance, 1), 0) / (h * w)
                    r, g, b = _blend(r, f1, target), _blend(g, f1, target), _blend(b, f1, target)
                elif operation == 2:
                    target = _luminance(r, g, b, C)
                    r, g, b = _blend(r, f2, target), _blend(g, f2, target), _blend(b, f2, target)
                elif operation == 3:
                    r, g, b = _turn_hue(r, g, b, f3)
    if GRAY >= 0:
        if tl.load(drawn + GRAY * rows) < tl.load(settings + GRAY_P):
            r = _luminance(r, g, b, C)
            g, b = r, r
    if BLUR >= 0:
        if tl.load(drawn + BLUR * rows) < tl.load(settings + BLUR_SETTINGS):
            sigma = _spread(drawn + (BLUR + 1) * rows, settings + BLUR_SETTINGS + 1)
            # Separate names: a Triton variable must keep its shape across branches.
            down = _blur_axis(sigma, h, Ph, REACH)
            across = tl.trans(_blur_axis(sigma, w, Pw, REACH))
            r, g, b = _sandwich(down, r, across), _sandwich(down, g, across), _sandwich(down, b, across)
    if SOLARIZE >= 0:
        if tl.load(drawn + SOLARIZE * rows) < tl.load(settings + SOLARIZE_SETTINGS):
            threshold = tl.load(settings + SOLARIZE_SETTINGS + 1)
            r, g, b = _solarize(r, threshold), _solarize(g, threshold), _solarize(b, threshold)

    place = out + row.to(tl.int64) * row_stride + oy * w + ox
    _store(place, r, kept, mean, std, 0, MEANS)
    if C == 3:
        _store(place + channel_stride, g, kept, mean, std, 1, MEANS)
        _store(place + 2 * channel_stride, b, kept, mean, std, 2, MEANS)


@triton.jit
def _solarize(x, threshold):
    return tl.where(x >= threshold, 1 - x, x)


@triton.jit
def _store(place, x, kept, mean, std, channel: tl.constexpr, MEANS: tl.constexpr):
    if MEANS > 0:
        own: tl.constexpr = channel if MEANS > 1 else 0
        x = (x - tl.load(mean + own)) / tl.load(std + own)
    tl.store(place, x, kept)

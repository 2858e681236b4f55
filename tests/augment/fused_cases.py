"""Cases and reference for comparing the fused kernel with the batched operations.

Run as a program with TRITON_INTERPRET=1, it compares all cases without a GPU.
"""

import sys

import torch

from ssl_ext import augment as a
from ssl_ext.augment import fused

MEAN, STD = [0.49, 0.48, 0.45], [0.25, 0.24, 0.26]
FLIP, NORMALIZE = a.RandomHorizontalFlip(), a.Normalize([0.5], [0.25])
SIMCLR = [
    a.RandomResizedCrop(scale=(0.08, 1.0)),
    a.RandomHorizontalFlip(),
    a.ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8),
    a.RandomGrayscale(0.2),
    a.Normalize(MEAN, STD),
]
# Name: members, shape of the images, number of members that the kernel does.
CASES = {
    "every order": ([a.ColorJitter(0.8, 0.7, 0.6, 0.4), NORMALIZE], (12, 3, 16, 12), 2),
    "simclr": (SIMCLR, (2, 3, 32, 32), 5),
    "medical": (
        [
            a.RandomHorizontalFlip(),
            a.RandomResizedCrop(scale=(0.08, 1.0)),
            a.ColorJitter(0.2, 0.2, 0.2, 0.04),
            a.RandomGrayscale(0.3),
            a.GaussianBlur(9, p=0.8),
            a.RandomEqualize(),
            a.RandomSharpness(),
            a.Normalize(MEAN, STD),
        ],
        (2, 3, 28, 28),
        5,
    ),
    "flip last": (
        [
            a.RandomResizedCrop((16, 20), scale=(0.2, 0.9), ratio=(1.1, 2.0)),
            a.ColorJitter(contrast=0.5, hue=0.3),
            a.GaussianBlur(3),
            a.RandomSolarize(0.4, p=0.7),
            a.RandomHorizontalFlip(),
        ],
        (2, 3, 30, 24),
        5,
    ),
    "central crop": ([a.RandomResizedCrop(16, (1.0, 1.0), (1.2, 1.3)), FLIP], (1, 3, 20, 20), 2),
    "padded crop": (
        [FLIP, a.RandomCrop(20, padding=3), FLIP, a.Normalize(MEAN, STD)],
        (2, 3, 20, 22),
        4,
    ),
    "zeros": ([FLIP, a.RandomCrop((20, 16), 2, "zeros")], (2, 3, 20, 18), 2),
    "one channel": (
        [a.RandomResizedCrop(), a.ColorJitter(0.5, 0.5, 0.5, 0.3), a.RandomGrayscale(), NORMALIZE],
        (2, 1, 9, 8),
        4,
    ),
    "three flips": ([FLIP] * 3 + [a.RandomRotation(20)], (1, 3, 8, 8), 1),
}  # fmt: skip
VIEWS = 2


def numbers_of(sequence, images, views=VIEWS, device="cpu"):
    """Uniform random numbers as ``draw_views`` passes them to the kernel."""
    draws = sum(member.draws for member in sequence)
    return torch.rand((draws, views * len(images)), device=device)


def reference(sequence, images, numbers):
    """Views by the batched operations, from the same random numbers."""
    shape, row, params = tuple(images.shape), 0, []
    for member in sequence:
        params.append(member._params(numbers[row : row + member.draws].clone(), shape))
        shape, row = member.output_shape(shape), row + member.draws
    return sequence.transform(images.repeat(numbers.shape[1] // len(images), 1, 1, 1), params)


def levels_apart(sequence, images, numbers):
    """Largest difference between kernel and reference in each view, in levels of 1/255."""
    apart = fused.fused_views(sequence, images, numbers) - reference(sequence, images, numbers)
    last = list(sequence)[-1]
    if isinstance(last, a.Normalize):
        apart *= last.std.to(apart.device).view(1, -1, 1, 1)
    return apart.abs().amax((1, 2, 3)) * 255


def main():
    """Compare all cases; exit with an error message if any differs."""
    wrong = []
    for name, (members, shape, taken) in CASES.items():
        torch.manual_seed(0)
        images = torch.randint(0, 256, shape, dtype=torch.uint8)
        # Equalisation counts integer levels, so different rounding changes the histogram.
        stop = next((k for k, m in enumerate(members) if isinstance(m, a.RandomEqualize)), len(members))
        sequence = a.AugmentationSequence(members[:stop])
        numbers = numbers_of(sequence, images)
        if name == "every order":
            numbers[1] = (torch.arange(24) + 0.5) / 24
        apart = levels_apart(sequence, images, numbers).max().item()
        if len(fused.plan(members).taken) != taken or apart > 0.02:
            wrong.append(f"{name}: {apart} levels, the kernel does {list(fused.plan(members).taken)}")
    sys.exit("\n".join(wrong) or None)


if __name__ == "__main__":
    main()

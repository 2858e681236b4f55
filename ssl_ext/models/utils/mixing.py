"""Mixing policies for configs: random draws per step around the functions of ``ssl_ext.mixups``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ssl_ext import mixups
from ssl_ext.mixups import Mixed, gradient_saliency
from ssl_ext.mixups.inter_intra import pair_within_classes
from ssl_ext.mixups.mixed import beta, uniform
from ssl_ext.registry import MODELS
from ssl_ext.values import check_positive

LossFunction = Callable[[Tensor], Tensor]


POLICIES: dict[str, Callable[..., tuple[Tensor, Tensor]]] = {
    "mixup": mixups.mixup,
    "manifoldmix": mixups.mixup,
    "cutmix": mixups.cutmix,
    "saliencymix": mixups.saliencymix,
    "fmix": mixups.fmix,
    "resizemix": mixups.resizemix,
    "puzzlemix": mixups.puzzlemix,
    "co_mixup": mixups.co_mixup,
    "inter_intra": mixups.inter_intra,
}
SEARCHED = ("mixup", "cutmix", "manifoldmix", "saliencymix", "fmix")
# α of SEARCHED by data set, as published in a model zoo for the same results (not published for STL-10).
ALPHAS = {
    column: dict(zip(SEARCHED, values, strict=True))
    for column, values in {
        "cifar100": (1.0, 0.2, 2.0, 0.2, 0.2),
        "tiny-imagenet": (1.0, 1.0, 0.2, 1.0, 1.0),
        "fine-grained": (0.2, 1.0, 0.5, 0.2, 0.2),
        "imagenet": (0.2, 1.0, 0.2, 1.0, 1.0),
        "imagenet-resnet18": (0.2, 0.2, 0.2, 0.2, 0.2),
        "stl10": (1.0, 1.0, 1.0, 1.0, 1.0),
        "self-supervised": (1.0, 1.0, 1.0, 1.0, 1.0),
    }.items()
}
# α of the other policies, for all data sets.
ALPHA = dict(resizemix=1.0, puzzlemix=1.0, co_mixup=2.0, inter_intra=0.2)
INTRA_ALPHA, INTRA_SHARE = 2.0, 0.5
# Keywords that a step passes to a policy; its other keywords are config options.
GIVEN = {"alpha", "generator", "intra_lam", "labels", "saliency"}


@MODELS.register_module()
class MixingPolicy(nn.Module):
    """Mix a batch with a permutation of itself, with λ ~ Beta(α, α) drawn once per step.

    There are no host syncs, except for graph cuts (PuzzleMix, Co-Mixup), which run on the CPU. Processes draw
    independently.

    Args:
        name: ``'mixup'``, ``'manifoldmix'`` (for features), ``'cutmix'``, ``'saliencymix'``, ``'fmix'``,
            ``'resizemix'``, ``'puzzlemix'``, ``'co_mixup'`` or ``'inter_intra'``.
        alpha: α > 0 of Beta(α, α); for Co-Mixup of the Dirichlet prior over the samples, for Inter-Intra of
            the pairs of two classes. Default: by ``alphas``.
        alphas: Column of the table of α by data set: ``'cifar100'``, ``'tiny-imagenet'``,
            ``'fine-grained'``, ``'imagenet'``, ``'imagenet-resnet18'``, ``'stl10'`` or
            ``'self-supervised'``.
        prob: Probability of mixing in a step, in [0, 1].
        **options: Options of the function in ``ssl_ext.mixups``; for ``'inter_intra'`` also ``intra_alpha``,
            the α of pairs of one class (2), and ``intra_share``, the fraction of samples whose partner is
            drawn from their own class (0.5).

    Raises:
        ValueError: An unknown name or option, or a value out of range.
    """

    def __init__(
        self,
        name: str,
        alpha: float | None = None,
        prob: float = 1.0,
        *,
        alphas: str = "cifar100",
        **options: Any,
    ) -> None:
        super().__init__()
        if name not in POLICIES:
            raise ValueError(f"model.policy.name is {name!r}; it must be one of {', '.join(POLICIES)}.")
        self.name, self.prob = name, _in_unit_interval("prob", prob)
        if alphas not in ALPHAS:
            raise ValueError(f"model.policy.alphas is {alphas!r}; it must be one of {', '.join(ALPHAS)}.")
        self.function = POLICIES[name]
        self.alpha = _positive("alpha", (ALPHA | ALPHAS[alphas])[name] if alpha is None else alpha)
        allowed = {
            key
            for key, parameter in inspect.signature(self.function).parameters.items()
            if parameter.kind is parameter.KEYWORD_ONLY
        } - GIVEN
        if self.needs_labels:
            self.intra_alpha = _positive("intra_alpha", options.pop("intra_alpha", INTRA_ALPHA))
            self.intra_share = _in_unit_interval("intra_share", options.pop("intra_share", INTRA_SHARE))
        if unknown := sorted(set(options) - allowed):
            known = sorted(allowed | ({"intra_alpha", "intra_share"} if self.needs_labels else set()))
            raise ValueError(
                f"model.policy.{unknown[0]} is not an option of {name!r}; allowed are "
                f"{', '.join(known) or 'none'}."
            )
        self.options = options
        # Run the policy once, so that option values out of range raise here and not during training.
        self.mix(
            torch.zeros(2, 1, 4, 4),
            0.5,
            torch.tensor([1, 0]),
            labels=torch.zeros(2, dtype=torch.long),
            loss_fn=torch.sum,
            generator=torch.Generator().manual_seed(0),
        )

    @property
    def needs_gradient(self) -> bool:
        """True if ``loss_fn`` is required, for saliency as the gradient of a loss."""
        return self.name in ("puzzlemix", "co_mixup")

    @property
    def capture_obstacle(self) -> str | None:
        """Why a step that mixes cannot be recorded as a CUDA graph; None if it can."""
        return f"{self.name} solves graph cuts on the host" if self.needs_gradient else None

    @property
    def needs_labels(self) -> bool:
        """True if ``labels`` are required (classes or pseudo labels)."""
        return self.name == "inter_intra"

    def forward(
        self,
        images: Tensor,
        *,
        labels: Tensor | None = None,
        loss_fn: LossFunction | None = None,
        generator: torch.Generator | None = None,
    ) -> Mixed:
        """Draw λ and a permutation, and mix.

        Args:
            images: (N, C, H, W), floating point and normalised; for ``'mixup'`` and ``'manifoldmix'`` also
                features (N, ...).
            labels: (N,), required if ``needs_labels``.
            loss_fn: From images to a scalar, required if ``needs_gradient``. Called once; it leaves no
                ``.grad``, but updates running statistics as any forward pass does.
            generator: Default is torch's global generator of the device.

        Raises:
            ValueError: Required labels or ``loss_fn`` are missing.
        """
        device, source = images.device, generator.device if generator else images.device
        permutation = torch.randperm(len(images), generator=generator, device=source).to(device)
        if self.needs_labels and labels is not None:
            permutation = pair_within_classes(
                permutation, labels, share=self.intra_share, generator=generator
            )
        lam = draw_lam(self.alpha, device, generator=generator)
        mixed = self.mix(images, lam, permutation, labels=labels, loss_fn=loss_fn, generator=generator)
        return mixed if self.prob == 1 else self._sometimes(images, mixed, generator)

    def mix(
        self,
        images: Tensor,
        lam: Tensor | float,
        permutation: Tensor,
        *,
        labels: Tensor | None = None,
        loss_fn: LossFunction | None = None,
        generator: torch.Generator | None = None,
    ) -> Mixed:
        """Mix with a given λ and permutation (Co-Mixup computes its own)."""
        given: dict[str, Any] = {}
        if self.needs_labels:
            if labels is None:
                raise ValueError(f"model.policy.name={self.name!r} needs labels or pseudo labels.")
            intra_lam = draw_lam(self.intra_alpha, images.device, generator=generator)
            given.update(labels=labels, intra_lam=intra_lam)
        if self.needs_gradient:
            if loss_fn is None:
                raise ValueError(f"model.policy.name={self.name!r} needs a loss of the plain images.")
            given.update(saliency=gradient_saliency(images, loss_fn))
        given.update(self.options, generator=generator)
        if self.name == "co_mixup":
            result, weights = self.function(images, alpha=self.alpha, **given)
            return Mixed(result, *_main_pair(weights), weights)
        result, lam = self.function(images, lam, permutation, **given)
        return Mixed(result, lam, permutation)

    def extra_repr(self) -> str:
        """Return the settings, for ``repr``."""
        settings = dict(alpha=self.alpha, prob=self.prob, **self.options)
        return ", ".join([self.name, *(f"{key}={value!r}" for key, value in settings.items())])

    def _sometimes(self, images: Tensor, mixed: Mixed, generator: torch.Generator | None) -> Mixed:
        """Mixture with probability ``prob``, else the plain images; chosen on the device."""
        chosen = uniform((), generator, images.device) < self.prob
        weights = mixed.weights
        if weights is not None:
            weights = torch.where(chosen, weights, torch.eye(len(weights), device=weights.device))
        return Mixed(
            torch.where(chosen, mixed.images, images),
            torch.where(chosen, mixed.lam, 1.0),
            mixed.permutation,
            weights,
        )


def draw_lam(alpha: float, device: torch.device, *, generator: torch.Generator | None = None) -> Tensor:
    """Draw λ ~ Beta(α, α), 0-dim on ``device``, on the generator's device (default: ``device``).

    Raises:
        ValueError: α is not above 0.
    """
    return beta(_positive("alpha", alpha), 1, device, generator=generator)[0]


def _main_pair(weights: Tensor) -> tuple[Tensor, Tensor]:
    """Weight (N,) of each sample in its own mixture, and the other sample (N,) of largest weight."""
    return weights.diagonal(), (weights - 2 * torch.eye(len(weights), device=weights.device)).argmax(1)


def _positive(key: str, value: float) -> float:
    check_positive("model.policy", **{key: value})
    return float(value)


def _in_unit_interval(key: str, value: float) -> float:
    if not 0 <= value <= 1:
        raise ValueError(f"model.policy.{key} is {value}; it must be from 0 to 1.")
    return float(value)

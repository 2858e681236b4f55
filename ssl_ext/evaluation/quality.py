"""Label-free measures of embeddings: collapse, effective rank, spectrum, alignment and uniformity."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK = 1024  # rows of a block of distances
# Ranks of the eigenvalues in the power-law fit (slice of 0-based ranks), as in the authors' code.
POWER_LAW = slice(3, 100)


def quality_figures(features: Tensor, views: Tensor | None) -> dict[str, float]:
    """Compute all measures of features (N, D), and of features (M, Q, D) of Q views of M images.

    ``feature_std_uniform`` is the feature std of uniformly distributed features. Without views, ``lidar``,
    ``alignment`` and ``uniformity`` (of the first view) are omitted.
    """
    figures = {
        "feature_std": feature_std(features),
        "feature_std_uniform": features.shape[1] ** -0.5,
        "rankme": rankme(features),
        "alpha_req": alpha_req(features),
    }
    if views is not None:
        figures |= {
            "lidar": lidar(views),
            "alignment": alignment(views),
            "uniformity": uniformity(views[:, 0]),
        }
    return figures


def _check(features: Tensor) -> None:
    if features.ndim != 2 or len(features) == 0:
        raise ValueError(f"features of shape {tuple(features.shape)}: (N, D) with N > 0 is needed")


def _check_views(views: Tensor) -> None:
    if views.ndim != 3 or min(views.shape[:2]) < 2:
        raise ValueError(
            f"views of shape {tuple(views.shape)}: (N, Q, D) with N and Q of 2 or more is needed"
        )


def _spectrum(rows: Tensor) -> Tensor:
    """Squared singular values of (N, D) rows above the rounding error, in ascending order."""
    gram = rows.T @ rows if len(rows) >= rows.shape[1] else rows @ rows.T
    squared = torch.linalg.eigvalsh(gram)
    return squared[squared > squared[-1] * max(rows.shape) * torch.finfo(rows.dtype).eps]


def _effective_rank(values: Tensor) -> float:
    """Exponential of the entropy of values / their sum; 0 without values."""
    return float(torch.special.entr(values / values.sum()).sum().exp()) if len(values) else 0.0


def rankme(features: Tensor) -> float:
    """Effective rank exp(entropy of σ/Σσ) of (N, D) features, from 1 to min(N, D).

    Garrido et al., "RankMe", 2023, Eq. 1. The singular values σ are computed from the Gram matrix in
    float64; those below its rounding error are set to zero, and all-zero features give 0. Raises
    ValueError unless features are (N, D) with N > 0.

    >>> round(rankme(torch.eye(8)), 6)
    8.0
    """
    _check(features)
    return _effective_rank(_spectrum(features.detach().double()).sqrt())


def alpha_req(features: Tensor) -> float:
    """Exponent α of the power law λ_i ∝ i^−α of the eigenvalues of the covariance of (N, D) features.

    Agrawal et al., "α-ReQ", 2022: 1 is best; larger: few directions dominate. As in the authors' code, a
    least-squares fit of log λ on log i with weights 1/i at ranks 4 to 100; ranks below the rounding error
    are left out. NaN for fewer than 2 eigenvalues there. Raises ValueError unless features are (N, D) with
    N > 0.
    """
    _check(features)
    x = features.detach().double()
    eigenvalues = _spectrum(x - x.mean(0)).flip(0)
    rank = torch.arange(1, len(eigenvalues) + 1, dtype=x.dtype, device=x.device)[POWER_LAW]
    if len(rank) < 2:
        return math.nan
    weights = (1 / rank) / (1 / rank).sum()
    log_rank, log_value = rank.log(), eigenvalues[POWER_LAW].log()
    centred = log_rank - weights @ log_rank
    return float(-(weights * centred) @ log_value / ((weights * centred) @ centred))


def feature_std(features: Tensor) -> float:
    """Standard deviation of the L2-normalised rows of (N, D) features, averaged over dimensions.

    About 1/√D if the embeddings are uniform on the sphere, 0 if they have collapsed to a point (Chen
    and He, "SimSiam", 2021, Section 4.1). Raises ValueError unless features are (N, D) with N > 0.

    >>> feature_std(torch.ones(4, 3))
    0.0
    """
    _check(features)
    return float(F.normalize(features.detach().float(), dim=1).std(dim=0, unbiased=False).mean())


def lidar(views: Tensor, *, delta: float = 1e-4) -> float:
    """Effective rank of the linear discriminant analysis of (N, Q, D) features, from 1 to min(N − 1, D).

    Thilak et al., "LiDAR", 2023, Eq. 1–4: a class is an image, its members are the features of its Q views.
    exp(entropy of λ/Σλ) of the eigenvalues λ of Σ_w^−½ Σ_b Σ_w^−½, with the covariances Σ_b of the N class
    means and Σ_w = covariance within classes + δI. In float64; equal class means give 0. Raises ValueError
    unless views are (N, Q, D) with N and Q of 2 or more.
    """
    _check_views(views)
    x = views.detach().double()
    images, count, dim = x.shape
    means = x.mean(1)
    within = (x - means[:, None]).reshape(-1, dim)
    covariance = within.T @ within / (images * (count - 1))
    factor = torch.linalg.cholesky(covariance + delta * torch.eye(dim, dtype=x.dtype, device=x.device))
    # Σ_w = L Lᵀ: Σ_w^−½ Σ_b Σ_w^−½ has the eigenvalues of L^−1 Σ_b L^−ᵀ. The entropy ignores their scale.
    whitened = torch.linalg.solve_triangular(factor, (means - means.mean(0)).T, upper=False)
    return _effective_rank(_spectrum(whitened.T))


def alignment(views: Tensor) -> float:
    """Mean squared distance of the L2-normalised features of two views of an image, from 0 to 4.

    ``views``: (N, Q, D); all pairs of the Q views count. Wang and Isola, "Understanding contrastive
    representation learning through alignment and uniformity", 2020, with their exponent 2. Raises
    ValueError unless views are (N, Q, D) with N and Q of 2 or more.

    >>> alignment(torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 0.0]]]))
    1.0
    """
    _check_views(views)
    unit = F.normalize(views.detach().double(), dim=2)
    count = unit.shape[1]
    # The mean over pairs is 2Q/(Q − 1) times the variance.
    return float(2 * count / (count - 1) * (1 - unit.mean(1).square().sum(1)).mean())


def uniformity(features: Tensor) -> float:
    """Log of the mean of exp(−2 d²) over all pairs of L2-normalised rows of (N, D) features, from −8 to 0.

    0: all features are equal; lower: more evenly spread on the sphere. Wang and Isola, 2020, with their
    t = 2. NaN for a single row. Raises ValueError unless features are (N, D) with N > 0.

    >>> round(uniformity(torch.tensor([[1.0, 0.0], [-2.0, 0.0]])), 6)
    -8.0
    """
    _check(features)
    if len(features) == 1:
        return math.nan
    unit = F.normalize(features.detach().double(), dim=1)
    total = sum((4 * (block @ unit.T - 1)).exp().sum() for block in unit.split(CHUNK))
    return float((total - len(unit)).div(len(unit) * (len(unit) - 1)).log())

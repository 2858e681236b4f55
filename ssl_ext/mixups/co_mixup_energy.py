"""Energy of Co-Mixup (Kim et al., 2021) and its minimisation by block coordinate descent."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .graph_cut import import_maxflow


@dataclass(frozen=True)
class CoMixupEnergy:
    """Energy of M mixtures of M samples; label z_jk is the sample that block k of mixture j shows (Eq. 4).

    E(z) = Σ_jk −s_k(z_jk) − η/n · log p(z_jk) + β/n · Σ_j Σ over neighbours of [z_jk ≠ z_jk']
         + γ n · max(τ M, Σ over j ≠ j' of o_jᵀ A o_j'),

    with n blocks, s the saliency (sum 1 per sample), o_j the shares of the samples in mixture j, and
    A = (1 − ω) I + ω D. D holds the L1 distances between the most salient blocks of two samples, scaled to
    a mean row sum of 1.

    Args:
        saliency: (M, h, w), ≥ 0, each sums to 1.
        log_prior: (M,), log p.
        smoothness: β.
        diversity: γ.
        prior: η.
        threshold: τ.
        compatibility: ω.
    """

    saliency: np.ndarray
    log_prior: np.ndarray
    smoothness: float
    diversity: float
    prior: float
    threshold: float
    compatibility: float

    @cached_property
    def cost(self) -> np.ndarray:
        """Unary cost (h, w, M) of showing each sample in each block."""
        return -self.saliency.transpose(1, 2, 0) - self.prior / self.blocks * self.log_prior

    @cached_property
    def fit(self) -> np.ndarray:
        """Compatibility matrix A (M, M)."""
        places = np.stack(np.unravel_index(self.saliency.reshape(self.samples, -1).argmax(1), self.grid), 1)
        distance = np.abs(places[:, None] - places[None]).sum(2).astype(float)
        distance *= self.samples / max(distance.sum(), 1e-12)
        return (1 - self.compatibility) * np.eye(self.samples) + self.compatibility * distance

    @property
    def samples(self) -> int:
        """Number of samples M."""
        return len(self.saliency)

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of blocks."""
        return self.saliency.shape[1], self.saliency.shape[2]

    @property
    def blocks(self) -> int:
        """Number of blocks n."""
        return self.grid[0] * self.grid[1]

    def value(self, labels: np.ndarray) -> float:
        """Energy E of labels (M, h, w)."""
        shares = self.shares(labels)
        common = self._common(shares, shares.sum(0))
        return sum(map(self._own, labels)) + self._diversity(common)

    def shares(self, labels: np.ndarray) -> np.ndarray:
        """Shares o (M, M) of labels (M, h, w): rows are mixtures, columns samples."""
        return np.stack([np.bincount(z.ravel(), minlength=self.samples) for z in labels]) / self.blocks

    def minimise(self, start: np.ndarray, iterations: int) -> tuple[np.ndarray, list[float]]:
        """Minimise E from labels ``start`` (M, h, w); also return E before the first and after each pass."""
        labels = start.copy()
        energies = [self.value(labels)]
        for _ in range(iterations):
            shares = self.shares(labels)
            used = shares.sum(0)
            common = self._common(shares, used)
            for j in range(self.samples):
                overlap = self.fit @ (used - shares[j])
                rest = common - 2 * shares[j] @ overlap
                candidates = [labels[j], *self._moves(labels[j], overlap)]
                owns = self.shares(np.stack(candidates))
                totals = [
                    self._own(z) + self._diversity(rest + 2 * own @ overlap)
                    for z, own in zip(candidates, owns, strict=True)
                ]
                best = int(np.argmin(totals))
                used += owns[best] - shares[j]
                labels[j], shares[j] = candidates[best], owns[best]
                common = rest + 2 * owns[best] @ overlap
            energies.append(self.value(labels))
        return labels, energies

    def _moves(self, current: np.ndarray, overlap: np.ndarray) -> list[np.ndarray]:
        """Candidate labels: minima of a mixture's own energy plus a linear price for overlap with the others.

        Three prices: none, for samples above the threshold only (as in the authors' code), and for all.
        """
        prices = (0, np.where(overlap > self.threshold, overlap, 0), overlap)
        return [self._cut(current, self.cost + 2 * self.diversity * price) for price in prices]

    def _cut(self, current: np.ndarray, cost: np.ndarray) -> np.ndarray:
        """Labels (h, w) that minimise unary cost and label changes, by α-expansion with PyMaxflow.

        Candidates are the samples in ``current`` and those of least unary cost in some block.
        """
        tried, start = np.unique(np.concatenate([current, cost.argmin(2)]), return_inverse=True)
        if len(tried) == 1:
            return current
        start = start.reshape(2, *self.grid)[1]
        border = self.smoothness / self.blocks * (1 - np.eye(len(tried)))
        cut = import_maxflow().aexpansion_grid(np.ascontiguousarray(cost[:, :, tried]), border, labels=start)
        return tried[cut]

    def _own(self, labels: np.ndarray) -> float:
        """Unary and smoothness energy of one mixture (h, w)."""
        cost = np.take_along_axis(self.cost, labels[:, :, None], 2).sum()
        borders = (labels[1:] != labels[:-1]).sum() + (labels[:, 1:] != labels[:, :-1]).sum()
        return float(cost + self.smoothness / self.blocks * borders)

    def _common(self, shares: np.ndarray, used: np.ndarray) -> float:
        """Σ over j ≠ j' of o_jᵀ A o_j'."""
        return float(used @ self.fit @ used - np.einsum("ji,ik,jk", shares, self.fit, shares))

    def _diversity(self, common: float) -> float:
        return self.diversity * self.blocks * max(self.threshold * self.samples, common)

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
         + γ n · Σ_j o_jᵀ h(Σ over j' ≠ j of A o_j'),

    with n blocks, s the saliency (sum 1 per sample), o_j the shares of the samples in mixture j,
    A = (1 − ω) I + ω D, and h(x) = x above the slack τ and 0 below it, for each sample, as in the authors'
    code (the paper's Eq. 4 has one slack for all samples). D holds the L1 distances between the most salient
    blocks of two samples, scaled to a mean row sum of 1.

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
        return sum(map(self._own, labels)) + self._diversity(self.shares(labels))

    def shares(self, labels: np.ndarray) -> np.ndarray:
        """Shares o (M, M) of labels (M, h, w): rows are mixtures, columns samples."""
        return np.stack([np.bincount(z.ravel(), minlength=self.samples) for z in labels]) / self.blocks

    def minimise(self, start: np.ndarray, iterations: int) -> tuple[np.ndarray, list[float]]:
        """Minimise E from labels ``start`` (M, h, w); also return the lowest E so far after each pass.

        As in the authors' code, each pass replaces one mixture at a time by a graph cut with the diversity
        linearised at the current overlap, which may increase E. A last pass, from the best labels, replaces
        a mixture only if E decreases.
        """
        labels = start.copy()
        best, energies = start, [self.value(start)]
        for _ in range(iterations):
            for j in range(self.samples):
                overlap = self._overlap(self.shares(labels))[j]
                labels[j] = self._cut(labels[j], self._priced(overlap, above_slack=True))
            if (energy := self.value(labels)) < energies[-1]:
                best = labels.copy()
            energies.append(min(energy, energies[-1]))
        labels = self._descend(best.copy())
        return labels, [*energies, self.value(labels)]

    def _descend(self, labels: np.ndarray) -> np.ndarray:
        """Replace each mixture in turn by the best of itself and three cuts with different overlap costs."""
        shares = self.shares(labels)
        for j in range(self.samples):
            overlap = self._overlap(shares)[j]
            costs = [self.cost, *(self._priced(overlap, above_slack=only) for only in (True, False))]
            candidates = [labels[j], *(self._cut(labels[j], cost) for cost in costs)]
            owns = self.shares(np.stack(candidates))
            totals = []
            for z, own in zip(candidates, owns, strict=True):
                shares[j] = own
                totals.append(self._own(z) + self._diversity(shares))
            best = int(np.argmin(totals))
            labels[j], shares[j] = candidates[best], owns[best]
        return labels

    def _priced(self, overlap: np.ndarray, *, above_slack: bool) -> np.ndarray:
        """Unary cost plus the gradient of the diversity term at an overlap (M,) with the other mixtures."""
        price = np.where(overlap > self.threshold, overlap, 0) if above_slack else overlap
        return self.cost + 2 * self.diversity * price

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

    def _overlap(self, shares: np.ndarray) -> np.ndarray:
        """Overlap (M, M) of each mixture's samples with all other mixtures."""
        return (shares.sum(0) - shares) @ self.fit

    def _diversity(self, shares: np.ndarray) -> float:
        """Diversity term of all mixtures; a sample counts if its overlap is above the slack."""
        overlap = self._overlap(shares)
        return self.diversity * self.blocks * float((shares * overlap)[overlap > self.threshold].sum())

"""Sampler that can resume within an epoch and seeds random crops per sample."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.dataset import DefaultSampler as MMEngineDefaultSampler

from ssl_ext.registry import DATA_SAMPLERS


class SeededRow(int):
    """Index into a data set with the random seed for this access."""

    seed: int


@DATA_SAMPLERS.register_module()
class DefaultSampler(MMEngineDefaultSampler):
    """MMEngine's DefaultSampler; the next pass omits its first ``skip`` indices.

    ``skip`` lets a run resume in the middle of an epoch with the same order. For a data set that draws
    random numbers (its ``draws`` is True) the indices are :class:`SeededRow`: MMEngine seeds the worker
    processes identically in every epoch and after a resume, and does not store their states.
    """

    skip = 0

    def __iter__(self) -> Iterator[int]:
        """Iterate over this process's indices of the epoch, without the first ``skip``."""
        skip, self.skip = self.skip, 0
        rows = list(super().__iter__())
        if not getattr(self.dataset, "draws", False):
            return iter(rows[skip:])
        # Distinct for every process and epoch.
        place = (self.seed * 1_000_003 + self.epoch) * self.world_size + self.rank
        seeds = torch.randint(2**62, (len(rows),), generator=torch.Generator().manual_seed(place % 2**63))
        # One at a time: a million of these objects take 300 MiB.
        return map(_seeded, rows[skip:], seeds[skip:].numpy())


def _seeded(row: int, seed: int) -> SeededRow:
    seeded = SeededRow(row)
    seeded.seed = int(seed)
    return seeded


@contextmanager
def drawn_for(row: int) -> Iterator[None]:
    """Seed torch's CPU generator from a :class:`SeededRow` and restore its state on exit.

    No effect for a plain int.
    """
    if not isinstance(row, SeededRow):
        yield
        return
    state = torch.get_rng_state()
    torch.default_generator.manual_seed(row.seed)
    try:
        yield
    finally:
        torch.set_rng_state(state)

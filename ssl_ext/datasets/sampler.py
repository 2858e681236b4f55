"""The order of the images of an epoch, from anywhere in it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.dataset import DefaultSampler as MMEngineDefaultSampler

from ssl_ext.registry import DATA_SAMPLERS


class SeededRow(int):
    """A row of a data set, with the seed of what is drawn when it is read this time."""

    seed: int


@DATA_SAMPLERS.register_module()
class DefaultSampler(MMEngineDefaultSampler):
    """MMEngine's sampler, whose next pass can leave out its first ``skip`` indices.

    A run that resumes in the middle of an epoch goes on with the rest of that epoch's order. For a data set
    that draws random numbers (its ``draws`` is true) the indices are :class:`SeededRow`: MMEngine seeds the
    worker processes alike in every epoch and whenever a run is resumed, and their states are not stored.
    """

    skip = 0

    def __iter__(self) -> Iterator[int]:
        """Indices of this process for the present epoch, without the first ``skip`` of them."""
        skip, self.skip = self.skip, 0
        rows = list(super().__iter__())
        if getattr(self.dataset, "draws", False):
            rows = [*map(SeededRow, rows)]
            # Apart for every process and epoch.
            place = (self.seed * 1_000_003 + self.epoch) * self.world_size + self.rank
            seeds = torch.randint(2**62, (len(rows),), generator=torch.Generator().manual_seed(place % 2**63))
            for row, seed in zip(rows, seeds.tolist(), strict=True):
                row.seed = seed
        return iter(rows[skip:])


@contextmanager
def drawn_for(row: int) -> Iterator[None]:
    """Draws from torch's CPU generator in the block follow the seed of a :class:`SeededRow`.

    Without one they come from the generator as it is.
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

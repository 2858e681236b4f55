"""The order of the images of an epoch, from anywhere in it."""

from collections.abc import Iterator

from mmengine.dataset import DefaultSampler as MMEngineDefaultSampler

from ssl_ext.registry import DATA_SAMPLERS


@DATA_SAMPLERS.register_module()
class DefaultSampler(MMEngineDefaultSampler):
    """MMEngine's sampler, whose next pass can leave out its first ``skip`` indices.

    A run that resumes in the middle of an epoch goes on with the rest of that epoch's order.
    """

    skip = 0

    def __iter__(self) -> Iterator[int]:
        """Indices of this process for the present epoch, without the first ``skip`` of them."""
        skip, self.skip = self.skip, 0
        return iter(list(super().__iter__())[skip:])

"""Random choices on the host."""

from __future__ import annotations

import random

from mmengine.dist import get_rank
from mmengine.logging import MessageHub


def host_random(iteration: int) -> random.Random:
    """Generator for the choices of one batch, seeded by the run's seed, the rank and ``iteration``.

    It is independent of torch's generators, so a resumed run makes the same choices.
    """
    seed = MessageHub.get_current_instance().get_info("seed", 0)
    return random.Random(f"{seed} {get_rank()} {iteration}")

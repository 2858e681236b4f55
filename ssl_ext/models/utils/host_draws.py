"""Random choices on the host."""

from __future__ import annotations

import random

from mmengine.dist import get_rank
from mmengine.logging import MessageHub


def host_random(iteration: int) -> random.Random:
    """Random numbers for the choices of one batch: a function of seed, process and ``iteration``.

    Nothing is taken from torch's generators, and a resumed run makes the same choices.
    """
    seed = MessageHub.get_current_instance().get_info("seed", 0)
    return random.Random(f"{seed} {get_rank()} {iteration}")

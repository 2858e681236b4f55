"""Random states of all processes in checkpoints."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from mmengine.dist import get_rank, get_world_size
from mmengine.hooks import Hook

from ssl_ext.registry import HOOKS

KEY = "random_states"


def random_state() -> dict:
    """States of the generators of Python, NumPy and torch in this process.

    Only tensors and plain containers, so that a checkpoint holding it loads with
    ``weights_only=True``.
    """
    version, internal, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state()
    state = dict(
        python=[version, list(internal), gauss],
        numpy=[name, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, cached],
        torch=torch.get_rng_state(),
    )
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: dict) -> None:
    """Inverse of :func:`random_state`."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.cpu().numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"].cpu())
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())


@contextmanager
def kept_random_state() -> Iterator[None]:
    """Restore all random states on exit."""
    state = random_state()
    try:
        yield
    finally:
        set_random_state(state)


@HOOKS.register_module()
class RandomStateHook(Hook):
    """Seed process r with seed + r when training starts, and restore random states when a run is resumed.

    MMEngine stores no generator states, so a resumed run would repeat the views of its first epoch.
    """

    priority = "VERY_HIGH"

    def __init__(self) -> None:
        self.states: list[dict] | None = None

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Read the states from a checkpoint to resume."""
        if runner._resume:
            self.states = checkpoint.get(KEY)

    def before_train(self, runner) -> None:
        """Restore the states of a resumed run, or seed a new run."""
        rank = get_rank()
        if self.states is not None and len(self.states) == get_world_size():
            set_random_state(self.states[rank])
            return
        if self.states is not None:
            runner.logger.warning(
                f"The checkpoint holds the random states of {len(self.states)} processes and this run "
                f"has {get_world_size()}: the views drawn from here on are new ones."
            )
        # Folding in the epoch keeps a resume without states from repeating earlier draws.
        seed = (runner.seed or 0) + rank + 1_000_003 * runner.epoch
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.manual_seed(seed)

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Store the states of all processes, which the runner has collected."""
        checkpoint[KEY] = runner.random_states

"""Hooks that take part in every training step on the device."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from torch import Tensor


class StepHook(Hook):
    """A hook with a part inside the training step, which may be a CUDA graph, and a part after it.

    The part inside runs in Python for the first steps only and is replayed later. It works on tensors that
    stay where they are, reads no value back and has no other effect that must happen in every step. All
    methods of a usual hook run in Python at every step, between replays.
    """

    def begin_step(self) -> None:
        """Forget what an earlier, unfinished run of the step has left in Python."""

    def device_step(self, runner: Any, batch: dict[str, Any], outputs: dict[str, Tensor]) -> Any:
        """Work on the device, after the optimiser's update; may add scalars to ``outputs``, for the log.

        Returns:
            What :meth:`host_step` gets after this step and after each replay of it.
        """

    def host_step(self, runner: Any, result: Any) -> None:
        """Called after each step, before ``after_train_iter``; the next step overwrites ``result``."""

"""Base class of hooks with a part inside the training step."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from torch import Tensor


class StepHook(Hook):
    """A hook with a part inside the training step, which may be a CUDA graph, and a part after it.

    The part inside runs in Python for the first steps and is replayed later, so it must work on tensors with
    fixed addresses, without host reads or other side effects. The other hook methods run in Python at every
    step.
    """

    def begin_step(self) -> None:
        """Reset Python state left by an unfinished step."""

    def device_step(self, runner: Any, batch: dict[str, Any], outputs: dict[str, Tensor]) -> Any:
        """Work on the device, after the optimiser's update; may add scalars to ``outputs``, for the log.

        Returns:
            The ``result`` of :meth:`host_step`, after this step and after each replay of it.
        """

    def host_step(self, runner: Any, result: Any) -> None:
        """Host work after each step, before ``after_train_iter``; the next step overwrites ``result``."""

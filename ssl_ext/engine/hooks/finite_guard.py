"""Stop at the first loss or gradient that is not finite, before it reaches a checkpoint."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import all_gather_object, get_rank
from torch import Tensor, nn

from ssl_ext.engine.weights.checkpoint import write_checkpoint
from ssl_ext.registry import HOOKS

from .monitoring import bare_model
from .random_state import random_state
from .step_hook import StepHook

NAMED = 3
LEAST_SCALE = 1.0


class NonFiniteError(FloatingPointError):
    """A loss term or a gradient is NaN or infinite."""


@HOOKS.register_module()
class FiniteGuardHook(StepHook):
    """Check every loss term, and every gradient before the optimiser uses it.

    On the CPU the check is immediate, before the weights are updated. On an accelerator the flags of a step
    are copied asynchronously and read when they have arrived, at the latest before a checkpoint is saved.
    Replayed steps are checked after the step. :class:`NonFiniteError` names the step and the tensors that
    were not finite, and the batch is saved as ``non_finite_rank<r>.pth`` in the work dir: ``inputs``,
    ``labels``, ``indices`` (rows of the data set) and the random states from which its views were drawn.

    Under float16 gradients overflow now and then: the scaler skips the step and halves the loss scale. This
    is an error only when the scale falls below 1.
    """

    priority = "VERY_HIGH"

    def __init__(self) -> None:
        self.step, self.batch, self.states = 0, {}, {}
        self.found: list[tuple[list[str], Tensor]] = []
        self.waiting: deque[tuple] = deque()
        self.at_once = False
        self.handles: list = []

    def before_train(self, runner) -> None:
        """Wrap the model's loss and the optimiser's step with checks."""
        self.folder = Path(runner.work_dir)
        self.at_once = runner.train_step is None or not runner.train_step.records
        self.handles = [
            bare_model(runner).register_forward_hook(self._see_terms),
            runner.optim_wrapper.optimizer.register_step_pre_hook(self._see_gradients),
        ]
        self.names = {parameter: name for name, parameter in bare_model(runner).named_parameters()}

    def after_train(self, runner) -> None:
        """Read the flags of the last steps."""
        self._settle(wait=True)

    def release(self) -> None:
        """Remove the checks, however training ended."""
        for handle in self.handles:
            handle.remove()

    def before_train_iter(self, runner, batch_idx: int, data_batch: dict | None = None) -> None:
        """Keep the batch until its flags are read."""
        self.batch, self.step = data_batch, runner.iter + 1
        self.states = random_state()

    def begin_step(self) -> None:
        """Drop the flags of an unfinished step."""
        self.found = []

    def device_step(
        self, runner, batch: dict[str, Any], outputs: dict[str, Tensor]
    ) -> tuple[list[str], Tensor] | None:
        """Names and flags of the checks that are still to be read, if any."""
        scaler = getattr(runner.optim_wrapper, "loss_scaler", None)
        if scaler is not None and scaler.is_enabled():
            fits = scaler._scale.reshape(1) >= LEAST_SCALE
            self._check(["the gradients, however small the scale of the loss"], fits)
        found, self.found = self.found, []
        if not found:
            return None
        return [name for group, _ in found for name in group], torch.cat([flags for _, flags in found])

    def host_step(self, runner, result: tuple[list[str], Tensor] | None) -> None:
        """Read the flags: on the CPU now, from an accelerator when their asynchronous copy has arrived."""
        if result is not None:
            names, finite = result
            context = (self.step, self.batch, self.states)
            if finite.is_cpu:
                self._judge(names, finite, *context)
            else:
                finite = finite.to("cpu", non_blocking=True)
                ready = torch.cuda.Event()
                ready.record()
                self.waiting.append((ready, names, finite, *context))
        self._settle()

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Read all flags, so that nothing is saved after a failed check."""
        self._settle(wait=True)

    def _see_terms(self, model: nn.Module, inputs: tuple, output: object) -> None:
        if model.training and isinstance(output, Mapping):
            terms = {name: value.detach() for name, value in output.items() if torch.is_tensor(value)}
            # The maximum norm is NaN or infinite if any element is.
            peaks = [value if value.ndim == 0 else value.abs().amax() for value in terms.values()]
            flags = torch.stack(peaks).isfinite()
            self._check([f"'{name}'" for name in terms], flags)

    def _see_gradients(self, optimizer: torch.optim.Optimizer, *_: object) -> None:
        if getattr(optimizer, "found_inf", None) is not None:
            # A fused optimiser unscales gradients and skips steps itself.
            return
        used = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        gradients = [parameter.grad for parameter in used]
        # A norm is NaN or infinite if any element is. On the CPU the L2 norm takes a tenth of the time of the
        # maximum norm, but squares may overflow.
        at_once = gradients[0].is_cpu and self.at_once
        if at_once and torch.stack(torch._foreach_norm(gradients)).isfinite().all():
            return
        peaks = torch.stack(torch._foreach_norm(gradients, float("inf")))
        self._check([f"the gradient of '{self.names.get(p, 'a parameter')}'" for p in used], peaks.isfinite())

    def _check(self, names: list[str], finite: Tensor) -> None:
        if finite.is_cpu and self.at_once:
            self._judge(names, finite, self.step, self.batch, self.states)
        else:
            self.found.append((names, finite))

    def _settle(self, *, wait: bool = False) -> None:
        while self.waiting and (wait or self.waiting[0][0].query()):
            ready, *context = self.waiting.popleft()
            ready.synchronize()
            self._judge(*context)

    def _judge(self, names: list[str], finite: Tensor, step: int, batch: dict, states: dict) -> None:
        if finite.all():
            return
        bad = [name for name, good in zip(names, finite.tolist(), strict=True) if not good]
        path = self.folder / f"non_finite_rank{get_rank()}.pth"
        write_checkpoint(dict(batch, step=step, names=bad, random_states=states), path)
        more = f" and {len(bad) - NAMED} more" if len(bad) > NAMED else ""
        rows = batch.get("indices")
        images = f" on images {_listed(rows)} of the data set" if torch.is_tensor(rows) else ""
        raise NonFiniteError(
            f"Not finite at step {step}{images}: {', '.join(bad[:NAMED])}{more}. The batch was saved as "
            f"'{path}'; the checkpoints in '{self.folder}' are not affected. "
            "Lower the learning rate or check the data."
        )


def check_finite(model: nn.Module) -> None:
    """Check all weights and buffers; a collective, to be called by all processes.

    Raises:
        NonFiniteError: On every process, if one of theirs is NaN or infinite.
    """
    floating = {name: value for name, value in model.state_dict().items() if value.is_floating_point()}
    if not floating:
        return
    finite = torch.stack([value.isfinite().all() for value in floating.values()]).tolist()
    bad = [name for name, good in zip(floating, finite, strict=True) if not good]
    bad = list(dict.fromkeys(name for names in all_gather_object(bad) for name in names))
    if bad:
        more = f" and {len(bad) - NAMED} more" if len(bad) > NAMED else ""
        raise NonFiniteError(
            f"Not finite after the last update: {', '.join(bad[:NAMED])}{more}. No checkpoint was written; "
            "lower the learning rate and resume from the last one (--resume)."
        )


def _listed(rows: Tensor, count: int = 8) -> str:
    shown = rows[:count].tolist()
    return ", ".join(map(str, shown)) + (" ..." if len(rows) > count else "")

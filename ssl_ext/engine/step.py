"""One training step, from a batch to updated weights: run in Python, or replayed as a CUDA graph."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from mmengine.dist import get_world_size
from mmengine.optim import AmpOptimWrapper
from torch import Tensor

from ssl_ext.capture import (
    Graph,
    Numbers,
    Rates,
    Recorder,
    Replayed,
    Tape,
    accelerator_branches,
    own_stream,
    pinned,
)
from ssl_ext.errors import UserError

from .hooks.model_step import optimiser_steps
from .hooks.monitoring import bare_model
from .hooks.step_hook import StepHook
from .optim_wrappers import OptimWrapper

KEY = "captured_step"
PRIVATE_GRAPHS = ("reduce-overhead", "max-autotune")


class TrainStep:
    """Run the training steps of a runner; with a recorder, record them once and replay them.

    A step is the model's ``train_step``, then the device parts of all :class:`StepHook`. Numbers that change
    every step (learning rates, and the model's ``step_numbers``) are passed as tensors, ``numbers``.

    There is one recording per key: the model's ``variant`` and the state of gradient accumulation. Batches of
    another shape than the largest one are trained on in Python, and so is a run whose batches have more than
    tensors.

    Args:
        runner: A runner with its weights and states loaded.
        recorder: Class of the recordings; None: every step runs in Python.
        strict: Raise an error if a step cannot be recorded; else log one warning and run in Python.
    """

    def __init__(self, runner: Any, recorder: type[Recorder] | None = None, *, strict: bool = False) -> None:
        self.runner, self.strict = runner, strict
        self.model, self.wrapper = bare_model(runner), runner.optim_wrapper
        self.device = next(self.model.parameters()).device
        self.every = getattr(self.wrapper, "_accumulative_counts", 1)
        self.hooks = [hook for hook in runner.hooks if isinstance(hook, StepHook)]
        # Steps before this one, for gradient accumulation; those of a resumed run too.
        self.count = getattr(self.wrapper, "_inner_count", 0)
        self.rates: Rates | None = None
        if recorder is not None or self.device.type == "cuda":
            try:
                self.rates = Rates(self.wrapper.optimizer)
            except (AttributeError, ValueError) as error:
                if recorder is not None:
                    self.refuse(str(error))
                    recorder = None
        if recorder is not None:
            # Recordings of accumulated batches share the gradients, so their addresses must be fixed.
            self.wrapper.keep_gradients = self.every > 1
        self.replayed = Replayed(self.run, recorder, self.refuse)
        self.numbers: Numbers | None = None
        self.batch: dict[str, Tensor] = {}

    @property
    def records(self) -> bool:
        """True if steps are, or will be, replayed; values must then be read after the step, not inside."""
        return self.replayed.recorder is not None

    def refuse(self, reason: str) -> None:
        """Log once why the step runs in Python.

        Raises:
            UserError: With ``strict``.
        """
        # A failed recording has counted its step and computed no gradients; the step is run again.
        self.wrapper._inner_count = self.count
        if self.every == 1:
            self.wrapper.optimizer.zero_grad(set_to_none=True)
        text = f"{type(self.model).__name__}'s step cannot be recorded: {reason}"
        if self.strict:
            raise UserError(f"{KEY}={self.runner.cfg.get(KEY)!r}: {text}.")
        self.runner.logger.log(logging.WARNING, f"{text}. It runs eagerly, which is slower.")

    def run(self) -> tuple[dict[str, Tensor], list[Any]]:
        """The device part of a step, which is recorded; it must not read values on the host.

        Returns:
            Loss terms by name, and the results of the hooks' device parts.
        """
        for hook in self.hooks:
            hook.begin_step()
        rates, numbers = self.rates, self.numbers
        with rates.in_step(numbers) if rates and numbers else nullcontext():
            self.wrapper.grad_norm = None
            outputs = self.runner.model.train_step(self.batch, optim_wrapper=self.wrapper)
        if self.wrapper.grad_norm is not None:
            outputs[self.wrapper.grad_name] = self.wrapper.grad_norm
        results = [hook.device_step(self.runner, self.batch, outputs) for hook in self.hooks]
        if self.records:
            # One float64 vector, which holds float32 terms exactly.
            terms = [value.detach() for value in outputs.values()]
            values = torch.stack([value if value.is_floating_point() else value.double() for value in terms])
            outputs = dict(zip(outputs, values.double().unbind(), strict=True))
        return outputs, results

    def __call__(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Run a step; return the loss terms by name."""
        numbers = self.step_numbers()
        if self.numbers is None or self.numbers.slots.keys() != numbers.keys():
            self.numbers = Numbers(list(numbers), self.device)
            self.replayed.restart()
        self.numbers.write(numbers)
        key = self.key()
        self.count = getattr(self.wrapper, "_inner_count", 0)
        if self.records and not _has_tensors_only(batch):
            self.replayed.stay_in_python("its batches have values that are not tensors")
        on_cpu = self.replayed.recorder not in (None, Graph)
        with accelerator_branches() if on_cpu else nullcontext():
            if not self.records:
                self.batch = on_device(batch, self.device)
                outputs, results = self.run()
            elif self._fill(batch):
                outputs, results = self.replayed(key)
                # Copy, because the next step overwrites terms that the log has not read yet.
                outputs = dict(zip(outputs, torch.stack(list(outputs.values())).unbind(), strict=True))
            else:
                outputs, results = self._other_shape(batch)
        # A replay does not advance Python counters.
        self.wrapper._inner_count = self.count + 1
        for hook, result in zip(self.hooks, results, strict=True):
            hook.host_step(self.runner, result)
        return outputs

    def step_numbers(self) -> dict[str, float]:
        """Numbers of the next step."""
        numbers = self.rates.numbers() if self.rates else {}
        return {**numbers, **self.model.step_numbers(*optimiser_steps(self.runner))}

    def key(self) -> Hashable:
        """Key of the recording: the model's variant and the state of gradient accumulation."""
        variant = self.model.variant
        if self.every == 1:
            return variant
        count, last = self.wrapper._inner_count + 1, self.wrapper._max_counts
        return variant, count % self.every == 0 or count == last, self.wrapper.scale_loss(1.0)

    def _fill(self, batch: dict[str, Tensor]) -> bool:
        """Copy a batch into the buffers; return False if its shapes differ from theirs."""
        if sum(map(torch.numel, batch.values())) > sum(map(torch.numel, self.batch.values())):
            # A resumed run may begin with the last, smaller batch of an epoch.
            self.replayed.restart()
            self.batch = {name: torch.empty_like(value, device=self.device) for name, value in batch.items()}
        same = self.batch.keys() == batch.keys() and all(
            value.shape == batch[name].shape and value.dtype == batch[name].dtype
            for name, value in self.batch.items()
        )
        if same:
            for name, value in self.batch.items():
                value.copy_(pinned(batch[name], self.device), non_blocking=True)
        return same

    def _other_shape(self, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[Any]]:
        buffers, self.batch = self.batch, on_device(batch, self.device)
        try:
            return self.run()
        finally:
            self.batch = buffers


def _has_tensors_only(batch: Any) -> bool:
    return isinstance(batch, dict) and all(torch.is_tensor(value) for value in batch.values())


def on_device(batch: Any, device: torch.device) -> Any:
    """Copy a batch of tensors to ``device``; return other batches unchanged, for the preprocessor."""
    if not _has_tensors_only(batch):
        return batch
    return {name: pinned(value, device).to(device, non_blocking=True) for name, value in batch.items()}


def recorder_for(runner: Any) -> tuple[type[Recorder] | None, bool]:
    """Recorder class for the config's ``captured_step`` (None: run in Python), and whether it is required.

    Raises:
        UserError: The step cannot be recorded and ``captured_step`` requires it.
    """
    setting = runner.cfg.get(KEY, "auto")
    if setting is False:
        return None, False
    reason = why_not(runner, on_gpu=setting != "dry")
    if reason is None:
        return (Tape if setting == "dry" else Graph), setting != "auto"
    if setting != "auto":
        raise UserError(f"{KEY}={setting!r}: the training step cannot be recorded: {reason}.")
    if torch.cuda.is_available():
        name = type(bare_model(runner)).__name__
        runner.logger.info(f"{name}'s training step runs eagerly: {reason}.")
    return None, False


def why_not(runner: Any, *, on_gpu: bool) -> str | None:
    """Reason, known before training, why the steps cannot be recorded; None if there is none."""
    wrapper, compiled = runner.optim_wrapper, runner.cfg.get("compile", False)
    mode = compiled.get("mode") if isinstance(compiled, dict) else None
    scheduled = {
        getattr(scheduler, "param_name", "lr")
        for schedulers in (runner.param_schedulers or [],)
        for scheduler in (schedulers if isinstance(schedulers, list) else [])
    }
    reasons = {
        "there is no GPU": on_gpu and not torch.cuda.is_available(),
        f"there are {get_world_size()} processes": get_world_size() > 1,
        "the host reads the loss scale of float16": isinstance(wrapper, AmpOptimWrapper),
        f"optim_wrapper.type={type(wrapper).__name__} may read gradients": not isinstance(
            wrapper, OptimWrapper
        ),
        "activation_checkpointing restores random states on the host": runner.cfg.get(
            "activation_checkpointing", False
        ),
        f"compile.mode={mode!r} records its own CUDA graphs": mode in PRIVATE_GRAPHS,
        f"a schedule changes {', '.join(sorted(scheduled - {'lr'}))}": bool(scheduled - {"lr"}),
    }
    known = next((reason for reason, holds in reasons.items() if holds), None)
    return known or bare_model(runner).capture_obstacle


@contextmanager
def train_step(runner: Any) -> Iterator[TrainStep]:
    """Build the step of a run; with CUDA graphs everything inside runs on one non-default stream."""
    recorder, strict = recorder_for(runner)
    step = TrainStep(runner, recorder, strict=strict)
    with own_stream(recorder):
        try:
            yield step
        finally:
            if recorder is Graph:
                torch.cuda.synchronize()
            step.replayed.records.clear()

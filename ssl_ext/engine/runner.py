"""MMEngine's runner with atomic checkpoints, CPU process groups and one rule for seeds."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import all_gather_object, broadcast, is_distributed, is_main_process
from mmengine.logging import MessageHub, MMLogger
from mmengine.model import MMDistributedDataParallel, is_model_wrapper
from mmengine.runner import BaseLoop, Runner
from mmengine.runner import runner as mmengine_runner
from mmengine.visualization import Visualizer
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ssl_ext.errors import user_errors
from ssl_ext.evaluation import Splits
from ssl_ext.logs import plain_lines
from ssl_ext.models.utils.channels_last import to_channels_last
from ssl_ext.registry import RUNNERS

from .activation_checkpointing import recompute_stages
from .compilation import compile_model
from .fixed_buckets import FixedBuckets
from .hooks.finite_guard import check_finite
from .hooks.process_state import process_state
from .hooks.random_state import random_state
from .hooks.train_log import TrainLogHook
from .loop import EpochLoop, IterLoop
from .resuming import KEY, changed_settings, fresh_settings, go_to_present_step, is_finished, run_facts
from .step import TrainStep
from .weights.checkpoint import write_checkpoint


def _save_atomically(checkpoint: dict, filename: str, **_) -> None:
    write_checkpoint(checkpoint, filename)


# Runner.save_checkpoint calls this function, which writes in place: a kill while it writes would leave a
# broken newest checkpoint.
mmengine_runner.save_checkpoint = _save_atomically


@RUNNERS.register_module()
class PretrainRunner(Runner):
    """Runner for models and data loaders that are already built and checked.

    ``evaluation_splits`` are the splits for hooks that evaluate features; None without evaluation data.
    """

    evaluation_splits: Splits | None = None
    train_step: TrainStep | None = None

    @cached_property
    def figures(self) -> dict[str, float]:
        """Figures measured since the last line on the console."""
        return {}

    @cached_property
    def facts(self) -> dict[str, Any]:
        """Settings of the run that its checkpoints store, to be compared on resume."""
        return run_facts(self)

    def setup_env(self, env_cfg: dict) -> None:
        """Wait until the log folder, named by the current second, differs from those of earlier runs."""
        while is_main_process() and (Path(self.work_dir) / time.strftime("%Y%m%d_%H%M%S")).exists():
            time.sleep(0.05)
        super().setup_env(env_cfg)

    def build_logger(self, *args: Any, **options: Any) -> MMLogger:
        """MMEngine's logger with plain console lines, whose file takes names that are not UTF-8."""
        logger = super().build_logger(*args, **options)
        plain_lines(logger)
        for handler in logger.handlers:
            if isinstance(handler, logging.FileHandler):
                handler.stream.reconfigure(errors="backslashreplace")
        return logger

    def _log_env(self, env_cfg: dict) -> None:
        # MMEngine prints torch's build settings and the whole config here; both are stored with the run, so
        # the console shows one line only.
        device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
        self.logger.info(
            f"{self.experiment_name}: {self.world_size} process(es) on {device}, seed {self.seed}, "
            f"torch {torch.__version__}; work dir {self.work_dir}"
        )

    def dump_config(self) -> None:
        """Do nothing: MMEngine calls this before the first step; see :meth:`write_config`."""

    def write_config(self) -> None:
        """Write the full config to the work dir."""
        super().dump_config()

    def build_train_loop(self, loop: dict) -> BaseLoop:
        """Build ``EpochLoop`` or ``IterLoop``, or the loop of a given ``type``."""
        if "type" in loop or "by_epoch" not in loop:
            return super().build_train_loop(loop)
        settings = {key: value for key, value in loop.items() if key != "by_epoch"}
        kind = EpochLoop if loop.get("by_epoch") else IterLoop
        return kind(self, self._train_dataloader, **settings)

    def get_hooks_info(self) -> str:
        """Names of the hooks, once (MMEngine lists them for each of 20 stages)."""
        return ", ".join(type(hook).__name__ for hook in self.hooks)

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """Move the model to its device and, with a process group, wrap it in DDP.

        MMEngine's version passes ``device_ids``, which DDP rejects for models on the CPU.
        """
        if self.cfg.get("channels_last", False):
            to_channels_last(model)
        if not is_distributed() or torch.cuda.is_available() or is_model_wrapper(model):
            wrapped = super().wrap_model(model_wrapper_cfg, model)
        else:
            wrapped = MMDistributedDataParallel(
                module=model,
                broadcast_buffers=False,
                find_unused_parameters=self.cfg.get("find_unused_parameters", False),
            )
        if isinstance(wrapped, DistributedDataParallel):
            wrapped.reducer = FixedBuckets(wrapped.reducer)  # type: ignore[assignment]
        return wrapped

    def train(self) -> nn.Module:
        """Train; call the ``release`` method of hooks however training ends."""
        try:
            return super().train()
        finally:
            for hook in self.hooks:
                if hasattr(hook, "release"):
                    hook.release()

    def load_or_resume(self) -> None:
        """Resume from a checkpoint, whose weights must all match (MMEngine only warns of mismatches)."""
        if self._checkpointing is not None:
            self.cfg.activation_checkpointing = self._checkpointing
        if self._resume:
            with user_errors(f"Cannot resume from '{self._load_from}'"):
                super().load_or_resume()

    def resume(self, filename: str, *args: Any, **kwargs: Any) -> None:
        """Restore a run, and apply changed settings of schedule and optimiser."""
        changes = changed_settings(self, filename)
        fresh = fresh_settings(self)
        super().resume(filename, *args, **kwargs)
        if changes:
            go_to_present_step(self, fresh)
            self.logger.info(f"Resumed with changed settings: {'; '.join(changes)}.")
        if is_finished(self):
            self.logger.info(
                f"The run is finished: {self.iter} of {self.max_iters} steps. To train longer, give more "
                "--epochs (or train_cfg.max_iters)."
            )

    def _maybe_compile(self, target: str) -> None:
        # MMEngine compiles train_step, including optimiser and log entries, which breaks into many graphs and
        # is recompiled whenever a Python number changes.
        settings = self.cfg.get("compile", False)
        if settings:
            model = self.model.module if is_model_wrapper(self.model) else self.model
            compile_model(model, **({} if settings is True else settings))

    def load_checkpoint(self, filename: str, map_location: Any = "cpu", **_: Any) -> dict:
        """Load the weights and return the checkpoint.

        Raises:
            RuntimeError: The weights do not match the model.
        """
        checkpoint = super().load_checkpoint(filename, map_location, strict=True)
        # MMEngine would execute this text as Python code; no supported version writes it.
        checkpoint["meta"].pop("config", None)
        return checkpoint

    def save_checkpoint(self, *args: Any, meta: dict | None = None, **kwargs: Any) -> None:
        """Collect the states of all processes, then save on the first one (atomically).

        Raises:
            NonFiniteError: A weight or a buffer is not finite: nothing is written.
        """
        self.random_states = all_gather_object(random_state())
        model = self.model.module if is_model_wrapper(self.model) else self.model
        check_finite(model)
        self.process_states = all_gather_object(process_state(model))
        # MMEngine copies the log into the checkpoint before it calls before_save_checkpoint.
        for hook in self.hooks:
            if isinstance(hook, TrainLogHook):
                hook.read_terms(self)
        super().save_checkpoint(*args, meta={**(meta or {}), KEY: self.facts}, **kwargs)

    def _init_model_weights(self) -> None:
        # The weights were initialised or loaded when the model was built; here all processes copy those of
        # rank 0.
        model = self.model.module if is_model_wrapper(self.model) else self.model
        for tensor in model.state_dict().values():
            broadcast(tensor)
        # MMEngine's own `activation_checkpointing` takes module names and lets the recomputation write to
        # buffers; remove the key before MMEngine reads it.
        self._checkpointing = self.cfg.pop("activation_checkpointing", None)
        if self._checkpointing:
            recompute_stages(model)


def init_process_group() -> bool:
    """Join the process group of torchrun, if any; return whether there is one."""
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        return False
    if not torch.distributed.is_initialized():
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        backend = "nccl" if torch.cuda.is_available() else "gloo"
        torch.distributed.init_process_group(backend)
    return True


@contextmanager
def own_logs() -> Iterator[None]:
    """Remove the loggers of a run on exit, so that the next run in this process has its own files."""
    kinds = (MMLogger, MessageHub, Visualizer)
    before = [set(kind._instance_dict) for kind in kinds]
    try:
        yield
    finally:
        for kind, names in zip(kinds, before, strict=True):
            for name in set(kind._instance_dict) - names:
                instance = kind._instance_dict.pop(name)
                for handler in getattr(instance, "handlers", []):
                    handler.close()

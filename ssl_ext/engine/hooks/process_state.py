"""Per-process buffers and gradients in checkpoints."""

from __future__ import annotations

import torch
from mmengine.dist import broadcast, get_rank, get_world_size
from mmengine.hooks import Hook
from torch import Tensor, nn

from ssl_ext.registry import HOOKS

from .monitoring import bare_model

KEY = "process_states"


def process_state(model: nn.Module) -> dict[str, dict[str, Tensor]]:
    """Buffers in which this process differs from rank 0, and accumulated gradients.

    Call it on all processes. Buffers are empty on one process or with synchronised batch normalisation,
    gradients after an update of the optimiser.
    """
    own: dict[str, Tensor] = {}
    if get_world_size() > 1:
        parameters = {name for name, _ in model.named_parameters()}
        for name, value in model.state_dict().items():
            if name not in parameters:
                first = value.clone()
                broadcast(first)
                if not torch.equal(first, value):
                    own[name] = value.cpu().clone()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    if not any(bool(gradient.any()) for gradient in gradients.values()):
        gradients = {}  # a captured step zeroes gradients after an update
    return dict(buffers=own, gradients={name: value.cpu().clone() for name, value in gradients.items()})


@HOOKS.register_module()
class ProcessStateHook(Hook):
    """Restore the buffers and gradients of every process when a run is resumed.

    MMEngine stores only the model of rank 0 and no gradients. Running statistics differ between processes
    unless batch normalisation is synchronised, and affect the training of algorithms that use a network in
    evaluation mode; gradients are pending if a run stops during gradient accumulation.
    """

    priority = "VERY_HIGH"

    def __init__(self) -> None:
        self.states: list[dict] | None = None

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Read the states from a checkpoint to resume."""
        if runner._resume:
            self.states = checkpoint.get(KEY)

    def before_train(self, runner) -> None:
        """Restore this process's state, if the number of processes has not changed."""
        states, self.states = self.states, None
        if states is None or len(states) != get_world_size():
            return
        model, state = bare_model(runner), states[get_rank()]
        model.load_state_dict(state["buffers"], strict=False)
        for name, parameter in model.named_parameters():
            if name in state["gradients"]:
                parameter.grad = state["gradients"][name].to(parameter)

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Store the states of all processes, which the runner has collected."""
        checkpoint[KEY] = runner.process_states

"""What each process keeps for itself, carried over a resume."""

from __future__ import annotations

import torch
from mmengine.dist import broadcast, get_rank, get_world_size
from mmengine.hooks import Hook
from torch import Tensor, nn

from ssl_ext.registry import HOOKS

from .monitoring import bare_model

KEY = "process_states"


def process_state(model: nn.Module) -> dict[str, dict[str, Tensor]]:
    """Buffers in which this process differs from the first one, and gradients that wait for an update.

    To be called on every process at the same time. Both are empty on most runs: on one process, or with
    synchronised batch normalisation, and after an update of the optimiser.
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
        gradients = {}  # a captured step sets them to zero after an update
    return dict(buffers=own, gradients={name: value.cpu().clone() for name, value in gradients.items()})


@HOOKS.register_module()
class ProcessStateHook(Hook):
    """Give every process of a resumed run its own buffers and gradients back.

    MMEngine stores the model of the first process only and no gradients. But running statistics differ
    between processes unless batch normalisation is synchronised, and algorithms that let a network judge in
    evaluation mode learn through them; gradients are there when a run is cut between two updates of an
    optimiser that accumulates them.
    """

    priority = "VERY_HIGH"

    def __init__(self) -> None:
        self.states: list[dict] | None = None

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Take the states out of a checkpoint that training resumes from."""
        if runner._resume:
            self.states = checkpoint.get(KEY)

    def before_train(self, runner) -> None:
        """Put this process's state in place; with another number of processes, none."""
        states, self.states = self.states, None
        if states is None or len(states) != get_world_size():
            return
        model, state = bare_model(runner), states[get_rank()]
        model.load_state_dict(state["buffers"], strict=False)
        for name, parameter in model.named_parameters():
            if name in state["gradients"]:
                parameter.grad = state["gradients"][name].to(parameter)

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Store the states of every process, which the runner collected on all of them."""
        checkpoint[KEY] = runner.process_states

"""State of a classifier's training in progress, from which it can be resumed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ssl_ext.files import replacing

State = dict[str, Any]
Changed = Mapping[str, nn.Module | Tensor | dict | list]
"""What a training changes in place, by name."""


def state_of(changed: Changed) -> State:
    """The present values, to be saved."""
    return {
        name: value.state_dict() if isinstance(value, nn.Module) else value for name, value in changed.items()
    }


def restore(changed: Changed, state: State) -> None:
    """Set the values to those of :func:`state_of`."""
    for name, value in changed.items():
        if isinstance(value, nn.Module):
            value.load_state_dict(state[name])
        elif isinstance(value, Tensor):
            value.data.copy_(state[name])
        else:
            value.clear()
            value.update(state[name]) if isinstance(value, dict) else value.extend(state[name])


@dataclass
class Unfinished:
    """Files with the state of a training, rewritten at most every ``seconds``.

    ``path`` is the file without its ending, ``read`` makes :meth:`last` return what an earlier process has
    written.
    """

    path: Path
    read: bool = False
    seconds: float = 60.0
    written: float = field(default_factory=time.monotonic)

    def part(self, name: str) -> Unfinished:
        """State of a part of the training, in a file of its own."""
        return Unfinished(self.path.with_name(f"{self.path.name}-{name}"), self.read, self.seconds)

    @property
    def file(self) -> Path:
        """File of the state."""
        return self.path.with_name(f"{self.path.name}.pth")

    def last(self) -> State | None:
        """The state of an earlier process; None if there is none."""
        if not (self.read and self.file.is_file()):
            return None
        return torch.load(self.file, map_location="cpu", weights_only=True)

    def write(self, state: Callable[[], State]) -> None:
        """Write the state if the last one is old enough."""
        if time.monotonic() - self.written >= self.seconds:
            with replacing(self.file) as file:
                torch.save(state(), file)
            self.written = time.monotonic()

    def remove(self) -> None:
        """Delete the files of all parts, and their folder if it is empty."""
        for file in self.path.parent.glob(f"{self.path.name}*.pth"):
            file.unlink()
        if self.path.parent.is_dir() and not any(self.path.parent.iterdir()):
            self.path.parent.rmdir()

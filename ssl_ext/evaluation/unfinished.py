"""State of a classifier's training in progress, from which it can be resumed."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ssl_ext.errors import UserError
from ssl_ext.files import replacing

logger = logging.getLogger(__name__)
State = dict[str, Any]
Changed = Mapping[str, nn.Module | Tensor | dict[str, Any]]
"""Values that a training changes in place, by name."""


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
            value.update(state[name])


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
        try:
            return torch.load(self.file, map_location="cpu", weights_only=True)
        except Exception as error:  # of many kinds, by the part that is damaged
            logger.warning("'%s' is damaged (%s); the training starts again", self.file, error)
            return None

    def write(self, state: Callable[[], State]) -> None:
        """Write the state if the last one is old enough; a warning tells if it cannot be written."""
        if time.monotonic() - self.written < self.seconds:
            return
        try:
            with replacing(self.file) as file:
                torch.save(state(), file)
        except (UserError, RuntimeError) as error:
            logger.warning("%s The training goes on, but cannot be resumed.", error)
            self.seconds = math.inf
        self.written = time.monotonic()

    def remove(self) -> None:
        """Delete the files of all parts, also half-written ones, and their folder if it is empty."""
        for file in self.path.parent.glob(f"*{self.path.name}*"):
            file.unlink(missing_ok=True)
        with suppress(OSError):
            self.path.parent.rmdir()

"""Recorders of a step: a CUDA graph, or a tape on the CPU with the same restrictions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor

from .host_access import HostAccess


class CaptureError(RuntimeError):
    """An operation that cannot be recorded."""


class Recorder(Protocol):
    """Run and record a step once, and replay it later on the same tensors.

    The constructor takes another recording of the same run, or None.
    """

    def __init__(self, sibling: Any = None) -> None: ...

    def record(self, step: Callable[[], Any]) -> Any:
        """Run and record a step; return its result, whose tensors every replay overwrites."""

    def replay(self) -> None:
        """Run the step again."""


class Tape(HostAccess):
    """Recorded operations with their tensors, replayed without the Python code that called them.

    As in a CUDA graph, Python numbers, branches and addresses are fixed by the recording, and random numbers
    are drawn anew from torch's generators.

    >>> x, tape = torch.zeros(2), Tape()
    >>> y = tape.record(lambda: x.add_(1) * 2)
    >>> tape.replay()
    >>> y.tolist()
    [4.0, 4.0]
    """

    def __init__(self, sibling: Tape | None = None) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple, dict, list[Tensor]]] = []

    def record(self, step: Callable[[], Any]) -> Any:
        """Run and record a step.

        Raises:
            CaptureError: An operation reads a value on the host or copies one from it.
        """
        with self:
            return step()

    def note(self, operation: str) -> None:
        """Raise CaptureError for an operation that needs the host."""
        raise CaptureError(operation)

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = super().__torch_dispatch__(func, types, args, kwargs)
        name = func._schema.name
        alias = [r.alias_info for r in func._schema.returns]
        written = bool(alias) and alias[0] is not None
        is_view = written and not alias[0].is_write
        # Views and empty tensors keep their memory, so there is nothing to replay.
        if not (is_view or name.startswith(("profiler::", "aten::empty", "aten::new_empty"))):
            self.calls.append((func, args, kwargs or {}, [] if written else list(_tensors(result))))
        return result

    @torch.no_grad()
    def replay(self) -> None:
        """Run the operations again; results overwrite those of the recording."""
        for func, args, kwargs, results in self.calls:
            for old, new in zip(results, _tensors(func(*args, **kwargs)), strict=False):
                old.copy_(new)


def _tensors(value: Any) -> Iterator[Tensor]:
    if torch.is_tensor(value):
        yield value
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _tensors(part)


class Graph:
    """A CUDA graph, recorded on the current stream, which must not be the default stream.

    The graphs of a run share one memory pool, as they never run concurrently. Random numbers come from the
    default generator, which advances with every replay.
    """

    def __init__(self, sibling: Graph | None = None) -> None:
        self.graph = torch.cuda.CUDAGraph()
        self.pool = None if sibling is None else sibling.graph.pool()

    def record(self, step: Callable[[], Any]) -> Any:
        """Record a step, then run it.

        Raises:
            CaptureError: CUDA cannot capture an operation; nothing was executed.
        """
        # "thread_local": CUDA calls of a data loader's pinning thread must not abort the capture.
        stream = torch.cuda.current_stream()
        try:
            with torch.cuda.graph(
                self.graph, pool=self.pool, stream=stream, capture_error_mode="thread_local"
            ):
                result = step()
        except Exception as error:
            _restore_generator(stream)
            raise CaptureError(str(error).partition("\n")[0]) from error
        self.graph.replay()
        return result

    def replay(self) -> None:
        """Run the step again."""
        self.graph.replay()


@contextmanager
def own_stream(recorder: object) -> Iterator[None]:
    """If ``recorder`` is :class:`Graph`, run everything inside on one non-default stream."""
    if recorder is not Graph:
        yield
        return
    stream, before = torch.cuda.Stream(), torch.cuda.current_stream()
    stream.wait_stream(before)
    with torch.cuda.stream(stream):
        try:
            yield
        finally:
            before.wait_stream(stream)


def _restore_generator(stream: torch.cuda.Stream) -> None:
    """Capture a trivial graph: a failed capture leaves the default generator in capture state."""
    torch.cuda.synchronize()
    state = torch.cuda.CUDAGraph()
    buffer = torch.zeros(1, device="cuda")
    with torch.cuda.graph(state, stream=stream, capture_error_mode="thread_local"):
        buffer.uniform_()

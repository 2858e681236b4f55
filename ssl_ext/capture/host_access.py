"""Detection of operations that a CUDA graph cannot contain: host reads, and copies from the host."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

PACKAGE = Path(__file__).parents[1]
HERE = Path(__file__).parent

# The host must know values for the result or its shape; ``lift_fresh`` is ``torch.tensor``.
READS = {
    *("_local_scalar_dense", "bincount", "equal", "is_nonzero", "lift_fresh", "masked_select", "nonzero"),
    *("_linalg_check_errors", "repeat_interleave", "_unique2", "unique_consecutive", "unique_dim"),
}
# These do not reach the dispatcher for tensors on the CPU.
HOST_METHODS = {
    *(getattr(Tensor, name) for name in ("__array__", "cpu", "item", "numpy", "pin_memory", "tolist")),
    torch.from_numpy,
}


@contextmanager
def accelerator_branches() -> Iterator[None]:
    """Make ``Tensor.is_cpu`` False inside, so that code takes its branch without host reads."""
    torch.Tensor.is_cpu = property(lambda tensor: False)  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        del torch.Tensor.is_cpu  # restores that of the base class


def host_access(func: Any, args: tuple, kwargs: dict) -> str | None:
    """Name of the operation ``func`` (an ``OpOverload``) if it needs the host, else None."""
    name = func._schema.name.split("::")[-1]
    if name in READS:
        return str(func)
    indices = args[1] if name.startswith(("index", "_index_put")) and len(args) > 1 else None
    if isinstance(indices, (list, tuple)) and any(
        torch.is_tensor(index) and index.dtype in (torch.bool, torch.uint8) for index in indices
    ):
        return f"{func} by a mask"
    if name == "_to_copy" and kwargs.get("device") is not None:
        target = torch.device(kwargs["device"])
        return f"{func} to {target.type}" if target.type != args[0].device.type else None
    if name == "copy_" and args[0].device.type != args[1].device.type:
        return f"{func} from {args[1].device.type}"
    return None


def caller() -> str:
    """File and function of the innermost caller in ssl_ext outside this folder; empty in backward."""
    frame = sys._getframe(1)
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if PACKAGE in path.parents and HERE not in path.parents:
            return f" in {path.name} {frame.f_code.co_name}"
        frame = frame.f_back  # type: ignore[assignment]
    return ""


class _Methods(TorchFunctionMode):
    def __init__(self, note: Any) -> None:
        super().__init__()
        self.note = note

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if func in HOST_METHODS:
            self.note(f"{func.__name__}{caller()}")
        return func(*args, **(kwargs or {}))


class HostAccess(TorchDispatchMode):
    """Collect in ``found`` every operation inside that needs the host, with the calling function.

    >>> with HostAccess() as access:
    ...     _ = torch.ones(2).sum().item()
    >>> access.found[0].split()[0]
    'item'
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.contexts = ExitStack()

    def __enter__(self) -> HostAccess:
        # Under a dispatch mode a compiled network would be retraced.
        self.contexts.enter_context(torch.compiler.set_stance("force_eager"))
        self.contexts.enter_context(_Methods(self.note))
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self.contexts.close()

    def note(self, operation: str) -> None:
        """Record the name of an operation."""
        self.found.append(operation)

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        operation = host_access(func, args, kwargs)
        if operation:
            self.note(operation + caller())
        return func(*args, **kwargs)

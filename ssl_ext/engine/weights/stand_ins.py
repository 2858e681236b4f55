"""Inert replacements for harmless objects in checkpoints, so that their weights can be read.

torch's ``weights_only`` loader rejects files that refer to any class but tensors. The classes and functions
listed here are common in checkpoints and hold no weights. Each is replaced by one of this module, which keeps
nothing or a plain value and calls no code of the file.
"""

from __future__ import annotations

import pickletools
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np

from ssl_ext.errors import UserError

from .array_pickle import DTYPE, GETS, PUTS

# Hashing or freeing a tuple that is nested some ten thousand times crashes the process.
MAX_NESTING = 500
MARK = -1
NESTING = {"TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "REDUCE", "NEWOBJ", "BUILD"}


class StandIn:
    """Replacement of an object; accepts any arguments and state, and keeps none."""

    def __init__(self, *_: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...

    def __repr__(self) -> str:
        return "<an object that was not read>"


class _DType(StandIn):
    """Replacement of a NumPy dtype; keeps its code."""

    def __init__(self, code: Any = "", *_: Any) -> None:
        self.code = code if isinstance(code, str) else ""

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">", "|", "="):
            self.code = state[1] + self.code[-2:]


def _scalar(dtype: Any = None, data: Any = None, *_: Any) -> Any:
    """Python number for a NumPy scalar of a plain type, otherwise a stand-in."""
    code = dtype.code if isinstance(dtype, _DType) else ""
    if not DTYPE.fullmatch(code) or not isinstance(data, bytes) or len(data) != np.dtype(code).itemsize:
        return StandIn()
    return np.frombuffer(data, code)[0].item()


class _History(StandIn):
    """Replacement of MMEngine's HistoryBuffer, which pickles its methods."""


def _method(owner: Any = None, *_: Any) -> StandIn:
    """Replacement of ``getattr``; looks up nothing, and is allowed for a HistoryBuffer only."""
    if owner is not _History and type(owner) is not _History:
        raise UnpicklingError("GLOBAL getattr")
    return StandIn()


def _dict(*_: Any) -> dict:
    return {}


def _list(*_: Any) -> list:
    return []


NUMPY = [f"numpy.{core}.multiarray" for core in ("core", "_core")]
OBJECTS = (
    *(
        "argparse.Namespace",
        "pathlib.Path",
        "pathlib.PosixPath",
        "pathlib.WindowsPath",
        "pathlib.PurePosixPath",
    ),
    "numpy.ndarray",
    # The factories of defaultdict.
    *(f"{module}.{n}" for module in ("builtins", "__builtin__") for n in ("int", "float", "list", "dict")),
    *(f"{module}._reconstruct" for module in NUMPY),
)
STAND_INS: dict[str, Callable] = {
    **dict.fromkeys(OBJECTS, StandIn),
    **dict.fromkeys((f"{module}.scalar" for module in NUMPY), _scalar),
    "numpy.dtype": _DType,
    "mmengine.logging.history_buffer.HistoryBuffer": _History,
    "builtins.getattr": _method,
    "__builtin__.getattr": _method,
    "collections.defaultdict": _dict,
    "collections.deque": _list,
}
ALLOWED: list[Any] = [(made, name) for name, made in STAND_INS.items()]


def check_nesting(path: Path) -> None:
    """Check the pickles of a torch file, without running them.

    Raises:
        UserError: Tuples are nested more than 500 times.
        Exception: The file is not a pickle.
    """
    for data in _pickles(path):
        depths, memo = [], {}
        for op, argument, _ in pickletools.genops(data):
            if op.name == "STOP":
                break
            _follow(op, argument, depths, memo)


def _pickles(path: Path) -> Iterator[Any]:
    with open(path, "rb") as file:
        if file.read(4) == b"PK\x03\x04":
            with zipfile.ZipFile(file) as archive:
                for info in archive.infolist():
                    if info.filename.endswith(".pkl"):
                        yield archive.read(info)
        else:
            # torch's former format: magic number, version, system, content, names of storages.
            file.seek(0)
            for _ in range(5):
                yield file


def _follow(op: pickletools.OpcodeInfo, argument: Any, depths: list[int], memo: dict[int, int]) -> None:
    """Replace the nesting depths of an opcode's operands by the depth of its result."""
    if op.name in PUTS:
        memo[len(memo) if argument is None else argument] = depths[-1]
    elif op.name in GETS:
        depths.append(memo[argument])
    elif op.name == "MARK":
        depths.append(MARK)
    else:
        taken = []
        for kind in reversed(op.stack_before):
            if kind is pickletools.stackslice:
                while depths[-1] != MARK:
                    taken.append(depths.pop())
            else:
                taken.append(depths.pop())
        # Lists and dicts are not hashed, so they do not count.
        depth = 1 + max(taken, default=0) if op.name in NESTING else 0
        if depth > MAX_NESTING:
            raise UserError(f"it has tuples nested more than {MAX_NESTING} times")
        depths += [depth] * len(op.stack_after)

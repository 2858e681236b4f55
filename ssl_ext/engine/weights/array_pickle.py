"""Reader for pickles of NumPy arrays that does not call the classes and functions they refer to."""

from __future__ import annotations

import math
import pickletools
import re
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from ssl_ext.errors import UserError

# Globals in pickles of different NumPy versions, and our name for each.
KNOWN = {
    **{
        f"numpy.{core}.{name}": name.rpartition(".")[2]
        for core in ("core", "_core")
        for name in ("multiarray._reconstruct", "multiarray.scalar", "numeric._frombuffer")
    },
    "numpy.ndarray": "ndarray",
    "numpy.dtype": "dtype",
    "collections.OrderedDict": "OrderedDict",
    "_codecs.encode": "encode",
    # Empty bytes in protocol 2.
    "__builtin__.bytes": "bytes",
}
DTYPE = re.compile(r"[<>|=][fiub][1248]")
# Opcodes with a number, text or bytes as argument.
LITERALS = {
    op.name
    for op in pickletools.opcodes
    if op.arg and not op.stack_before and op.stack_after and op.stack_after[0].name != "any"
}
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
PUTS, GETS = {"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"}, {"GET", "BINGET", "LONG_BINGET"}
MAX_SIZE, MAX_DIMENSIONS = 2**31, 32


def read_array_pickle(data: bytes) -> Any:
    """Content of a pickle of plain containers and numeric arrays, with tensors in place of arrays.

    Raises:
        UserError: It refers to an unknown class or function, calls a known one with unexpected arguments, or
            its arrays are larger than the data.
    """
    return _ArrayPickle(data).load()


@dataclass
class _Name:
    """A value of :data:`KNOWN` that stands for a function or class."""

    name: str


@dataclass
class _DType:
    code: str


@dataclass
class _Array:
    tensor: torch.Tensor | None = None


class _ArrayPickle:
    """Interpreter for pickles of plain containers and numeric arrays.

    Unlike Python's unpickler it supports opcodes for data only and calls nothing that a file names; arrays
    are built from their bytes.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        # Protocol 2 stores bytes of arrays as text of up to twice the size.
        self.left = 2 * len(data)
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def load(self) -> Any:
        for op, argument, _ in pickletools.genops(self.data):
            if op.name == "STOP":
                break
            self.step(op.name, argument)
        return _tensors(self.stack.pop(), {})

    def step(self, op: str, argument: Any) -> None:
        stack = self.stack
        if op in LITERALS:
            stack.append(argument)
        elif op in CONSTANTS:
            stack.append(CONSTANTS[op])
        elif op in PUTS:
            self.memo[len(self.memo) if argument is None else argument] = stack[-1]
        elif op in GETS:
            stack.append(self.memo[argument])
        else:
            self.combine(op, argument)

    def combine(self, op: str, argument: Any) -> None:
        pop = self.stack.pop
        match op:
            case "PROTO" | "FRAME":
                return
            case "MARK":
                self.below.append(self.stack)
                self.stack = []
                return
            case "APPEND" | "SETITEM" | "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = {"APPEND": 1, "SETITEM": 2}.get(op) or int(op[-1])
                items = [pop() for _ in range(count)][::-1]
            case "APPENDS" | "SETITEMS" | "LIST" | "TUPLE" | "DICT":
                items, self.stack = self.stack, self.below.pop()
            case "EMPTY_LIST" | "EMPTY_TUPLE" | "EMPTY_DICT":
                items = []
            case "GLOBAL":
                items = argument.split(" ", 1)
            case "STACK_GLOBAL" | "REDUCE" | "BUILD":
                items = [pop(), pop()][::-1]
            case _:
                raise UserError(f"it has the opcode {op}, but only arrays and plain containers are read.")
        self.stack.append(self.made(op, items))

    def made(self, op: str, items: list[Any]) -> Any:
        match op:
            case "APPEND" | "APPENDS":
                return _extended(self.stack.pop(), items)
            case "SETITEM" | "SETITEMS":
                return _updated(self.stack.pop(), items)
            case "EMPTY_DICT" | "DICT":
                return _updated({}, items)
            case "EMPTY_LIST" | "LIST":
                return items
            case "GLOBAL" | "STACK_GLOBAL":
                name = "{}.{}".format(*items)
                if name not in KNOWN:
                    raise UserError(
                        f"loading it would run {name}, but only arrays and plain containers are read. "
                        "Save it as a state_dict."
                    )
                return _Name(KNOWN[name])
            case "REDUCE":
                return self.called(*items)
            case "BUILD":
                return self.filled(*items)
        return tuple(items)

    def called(self, function: Any, arguments: Any) -> Any:
        match function, arguments:
            case _Name("_reconstruct"), (_Name("ndarray"), (0,), b"b" | "b"):
                return _Array()
            case _Name("_frombuffer"), (data, _DType() as dtype, tuple(shape), "C" | "F" as order):
                return _Array(self.tensor(data, dtype, shape, order))
            case _Name("scalar"), (_DType() as dtype, data):
                return self.tensor(data, dtype, (), "C").item()
            case _Name("dtype"), (str(code), 0, 1):
                return _DType(code)
            case _Name("bytes"), ():
                return b""
            case _Name("OrderedDict"), ():
                return {}
            case _Name("OrderedDict"), (list(pairs),):
                return _updated({}, [item for key, value in pairs for item in (key, value)])
            case _Name("encode"), (str(text), "latin1"):
                return self.bytes_of(text)
        raise UserError(f"it calls {getattr(function, 'name', 'a value')} with unexpected arguments.")

    def filled(self, value: Any, state: Any) -> Any:
        match value, state:
            case _DType(), (3, "<" | ">" | "|" | "=" as order, None, None, None, -1, -1, 0):
                value.code = order + value.code
            case _Array(tensor=None), (1, tuple(shape), _DType() as dtype, 0 | 1 as fortran, data):
                value.tensor = self.tensor(data, dtype, shape, "F" if fortran else "C")
            case dict(), dict():
                # torch's state dicts have _metadata as an attribute.
                pass
            case _:
                raise UserError("it has an invalid state of an array or a dtype.")
        return value

    def tensor(self, data: Any, dtype: _DType, shape: tuple, order: Literal["C", "F"]) -> torch.Tensor:
        data = self.bytes_of(data) if isinstance(data, str) else data
        if not DTYPE.fullmatch(dtype.code):
            raise UserError(f"it has an array of dtype {dtype.code[:40]!r}, but only plain numbers are read.")
        kind = np.dtype(dtype.code)
        sizes_fit = len(shape) <= MAX_DIMENSIONS and all(type(n) is int and 0 <= n < MAX_SIZE for n in shape)
        if not isinstance(data, bytes | bytearray) or not sizes_fit:
            raise UserError("it has an array with invalid content or shape.")
        if math.prod(shape) * kind.itemsize != len(data):
            raise UserError(f"it has an array of shape {shape} and {dtype.code} with {len(data)} bytes.")
        self.spend(len(data))
        array = np.frombuffer(data, kind).reshape(shape, order=order)
        return torch.from_numpy(array.astype(kind.newbyteorder("="), order="C"))

    def bytes_of(self, text: str) -> bytes:
        # The form of bytes in pickles of protocol 2 and of Python 2.
        self.spend(len(text))
        return text.encode("latin1")

    def spend(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise UserError("its arrays are larger than the file.")


def _extended(target: Any, items: list[Any]) -> list:
    if type(target) is not list:
        raise UserError("it appends to a value that is not a list.")
    target.extend(items)
    return target


def _updated(target: Any, items: list[Any]) -> dict:
    # Hashing a deeply nested tuple can crash the process.
    if type(target) is not dict or not all(isinstance(key, str | int | float | None) for key in items[::2]):
        raise UserError("it has a dict with keys that are neither strings nor numbers.")
    target.update(zip(items[::2], items[1::2], strict=True))
    return target


def _tensors(value: Any, done: dict[int, Any]) -> Any:
    """``value`` with tensors for arrays; ``done`` holds converted containers by id, for shared ones."""
    if isinstance(value, _Array) and value.tensor is not None:
        return value.tensor
    if isinstance(value, (_Name, _DType, _Array)):
        raise UserError("it has a value that is neither an array nor a plain value.")
    if not isinstance(value, (dict, list, tuple)):
        return value
    if id(value) not in done:
        if isinstance(value, dict):
            done[id(value)] = {key: _tensors(item, done) for key, item in value.items()}
        else:
            done[id(value)] = type(value)(_tensors(item, done) for item in value)
    return done[id(value)]

"""Pickles of arrays are read as data without calling anything they name."""

import pickle
import struct
import subprocess
import sys
from collections import OrderedDict

import numpy as np
import pytest
import torch

from ssl_ext.engine.weights.array_pickle import KNOWN, read_array_pickle
from ssl_ext.engine.weights.files import read_weights
from ssl_ext.errors import UserError


def name(path):
    module, _, name = path.rpartition(".")
    return f"c{module}\n{name}\n".encode()


def plain(value):
    """Opcodes of a plain value without header, end and memo."""
    body = pickle.dumps(value, 2)[2:-1]
    return bytes(body) if not isinstance(value, tuple) else together(*map(plain, value))


def together(*parts):
    return b"(" + b"".join(parts) + b"t"


def call(path, *parts):
    return name(path) + together(*parts) + b"R"


def raw(data):
    return b"B" + struct.pack("<I", len(data)) + data


def dtype(code="f4", order="<", rest=(None, None, None, -1, -1, 0), version=3):
    return call("numpy.dtype", plain(code), plain(False), plain(True)) + state(
        plain(version), plain(order), *map(plain, rest)
    )


def state(*parts):
    return together(*parts) + b"b"


def array(kind=None, shape=(2,), data=b"12345678", version=1, order=False, content=b""):
    made = call("numpy.core.multiarray._reconstruct", name("numpy.ndarray"), plain((0,)), raw(b"b"))
    return made + state(plain(version), plain(shape), kind or dtype(), plain(order), content or raw(data))


def file(value, start=b"\x80\x04"):
    return start + b"}" + plain("model") + b"}" + plain("w") + value + b"ss."


OBJECT = call("numpy.dtype", plain("O8"), plain(False), plain(True))
FIELDS = b"}" + plain("f0") + together(OBJECT, plain(0)) + b"s"
VOID = call("numpy.dtype", plain("V8"), plain(False), plain(True))
# Callables of NumPy and other modules with side effects; none must be called.
IN_NUMPY = (
    "load fromfile memmap save savetxt loadtxt array genfromtxt frombuffer fromstring frompyfunc "
    "vectorize zeros lib.npyio.NpzFile lib.format.read_array lib.format.open_memmap recarray "
    "lib._npyio_impl.load lib.utils.source lib.scimath.sqrt rec.fromrecords ctypeslib.load_library "
    "ctypeslib.as_array ctypeslib.ndpointer DataSource f2py.compile f2py.run_main "
    "f2py.diagnose.run_command distutils.exec_command testing._private.utils.runstring testing.rundocs "
    "testing.measure test core._multiarray_umath._reconstruct core.multiarray.set_string_function matrix "
    "core.multiarray.frombuffer _core.multiarray.fromfile core._internal._ctypes "
    "core._internal._reconstruct core._ufunc_reconstruct core._DType_reconstruct "
    "random._pickle.__randomstate_ctor random.mtrand.RandomState float64 void core.memmap.memmap "
    "ma.core._mareconstruct compat.py3k.npy_load_module ndarray core.numeric.fromfunction "
    "core.records.fromfile os.system sys.exit core.multiarray.os.system core.multiarray.__builtins__ "
)
BESIDE = (
    "builtins.eval builtins.getattr os.system posix.system subprocess.Popen collections.namedtuple "
    "collections.OrderedDict.fromkeys _codecs.decode codecs.encode _codecs.lookup copyreg._reconstructor "
    "operator.attrgetter torch.load torch._utils._rebuild_tensor_v2 functools.partial types.CodeType "
    "weakref.ref "
)
CALLS = [*(f"numpy.{path}" for path in IN_NUMPY.split()), *BESIDE.split()]
HOSTILE = {
    "object pointers in a structure": file(
        array(
            VOID
            + state(
                plain(3), plain("|"), plain(None), together(plain("f0")), FIELDS, plain(8), plain(1), plain(1)
            ),
            (1,),
            b"A" * 8,
        )
    ),
    "object pointers": file(
        array(OBJECT + state(*map(plain, (3, "|", None, None, None, -1, -1, 63))), (1,), b"A" * 8)
    ),
    "an object dtype under a number's name": file(array(dtype(rest=(None, None, None, 8, 1, 63)))),
    "a subarray": file(
        array(VOID + state(plain(3), plain("|"), together(dtype(), plain((9,))), *map(plain, (None,) * 5)))
    ),
    "a dtype set twice": file(array(dtype() + state(*map(plain, (3, "<", None, None, None, -1, -1, 0))))),
    "a dtype without its state": file(array(call("numpy.dtype", plain("f4"), plain(False), plain(True)))),
    "an array set twice": file(
        array() + state(plain(1), plain((2,)), dtype(), plain(False), raw(b"12345678"))
    ),
    "an array without its state": file(
        call("numpy.core.multiarray._reconstruct", name("numpy.ndarray"), plain((0,)), raw(b"b"))
    ),
    "objects as content": file(array(dtype("O8", "|"), (1,), content=b"]")),
    "more elements than bytes": file(array(shape=(1 << 20,))),
    "fewer elements than bytes": file(array(shape=(1,))),
    "a negative size": file(array(shape=(-2, -1))),
    "sizes whose product overflows": file(array(shape=(1 << 33, 1 << 31))),
    "sizes beyond any number": file(array(shape=(1 << 100, 0), data=b"")),
    "65 dimensions": file(array(shape=(1,) * 64 + (2,))),
    "a size that is no number": file(array(shape=("2",))),
    "a size that is a truth value": file(array(shape=(2, True))),
    "a shape that is no tuple": file(array(shape=2)),
    "another version of the state": file(array(version=2)),
    "another version of the dtype's state": file(array(dtype(version=4))),
    "a state for the class": file(name("numpy.ndarray") + state(plain(None), plain({"__setstate__": 1}))),
    "a state for a function": file(
        name("_codecs.encode") + plain((None, {"__code__": 1, "__defaults__": (1,)})) + b"b"
    ),
    "a state for a list": file(b"]" + plain({"append": 1}) + b"b"),
    "a state with slots for a dict": file(b"}" + plain((None, {"keys": 1})) + b"b"),
    "an instance of the class": file(name("numpy.ndarray") + plain((1 << 40,)) + b"\x81"),
    "an instance with keywords": file(name("numpy.ndarray") + plain(()) + plain({"shape": 1}) + b"\x92"),
    "an old instance": file(b"(inumpy\nndarray\n"),
    "an object of a class on the stack": file(b"(" + name("numpy.ndarray") + plain(3) + b"o"),
    "an extension": file(b"\x82\x01"),
    "a persistent id": file(b"Pid\n"),
    "a persistent id on the stack": file(plain("id") + b"Q"),
    "a buffer from outside": file(b"\x97"),
    "a call of a class's result": file(array() + plain(()) + b"R"),
    "a call of a text": file(plain("os.system") + plain(("true",)) + b"R"),
    "arguments that are no tuple": file(name("collections.OrderedDict") + b"}R"),
    "a class that is not an array": file(
        call("numpy.core.multiarray._reconstruct", name("numpy.dtype"), plain((0,)), raw(b"b"))
    ),
    "a large array without content": file(
        call("numpy.core.multiarray._reconstruct", name("numpy.ndarray"), plain((1 << 40,)), raw(b"b"))
    ),
    "a scalar of objects": file(call("numpy.core.multiarray.scalar", OBJECT, raw(b"A" * 8))),
    "a scalar of fewer bytes": file(call("numpy.core.multiarray.scalar", dtype("f8"), raw(b"AAAA"))),
    "a buffer of objects": file(
        call("numpy.core.numeric._frombuffer", raw(b"A" * 8), OBJECT, plain((1,)), plain("C"))
    ),
    "a buffer that is no bytes": file(
        call("numpy.core.numeric._frombuffer", plain([1]), dtype(), plain((1,)), plain("C"))
    ),
    "another encoding": file(call("_codecs.encode", plain("QUJD"), plain("base64"))),
    "bytes through a compressor": file(call("_codecs.encode", plain("x"), plain("zip"))),
    "a class as a value": file(name("numpy.ndarray")),
    "a dtype as a value": file(dtype()),
    "a memo that is not there": file(b"j" + struct.pack("<I", 0x7FFFFFFF)),
    "an item of nothing": b"\x80\x02s.",
    "an end without a value": b"\x80\x02.",
    "marks that are not there": b"\x80\x02ut.",
    "a key that crashes on hashing": b"\x80\x02}" + b")" + b"\x85" * 300_000 + b"Ns.",
    "tuples nested deeply": b"\x80\x02}" + plain("a") + b")" + b"\x85" * 10_000 + b"s.",
    "lists nested deeply": b"\x80\x02" + b"]" * 10_000 + b"a" * 9_999 + b".",
    "a list in itself": b"\x80\x02]qchca.",
    "a dict in itself": b"\x80\x02}qc" + plain("a") + b"hcs.",
    "gigabytes announced": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 36) + b"abc.",
    "exabytes announced": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 62) + b"abc.",
    "a negative length": b"\x80\x02\x8b" + struct.pack("<i", -5) + b".",
    "an endless number": b"\x80\x02I" + b"9" * 100_000 + b"\n.",
    "one text as many bytes": b"\x80\x02]"
    + plain("x" * 10_000)
    + b"qca"
    + (name("_codecs.encode") + b"hc" + plain("latin1") + b"\x86Ra") * 300
    + b".",
    "one content for many arrays": b"\x80\x02("
    + raw(b"1" * 8000)
    + b"qc"
    + call("numpy.core.numeric._frombuffer", b"hc", dtype(), plain((2000,)), plain("C")) * 300
    + b"l.",
    "a name with more than one part": file(b"cnumpy\ncore.multiarray._reconstruct.__globals__\n"),
    "a name made on the stack": file(plain("os") + plain("system") + b"\x93"),
    "a name of numbers": file(plain(1) + plain(2) + b"\x93"),
    "a half name": file(plain("numpy.core.multiarray") + plain("") + b"\x93"),
}
for bad in (
    "O8",
    "V8",
    "S8",
    "U2",
    "M8",
    "m8",
    "f3",
    "i16",
    "f16",
    "c8",
    "f4,O8",
    "(2,)f4",
    "<f4",
    "f4\n",
    "object",
    "",
    "f",
):
    HOSTILE[f"the dtype {bad!r}"] = file(array(dtype(bad)))
for bad in ("", ">>", "O", "\n", 5, None):
    HOSTILE[f"the byte order {bad!r}"] = file(array(dtype(order=bad)))
EMPTY = {"collections.OrderedDict", "__builtin__.bytes"}
# These cause no side effect and are read.
HARMLESS = {
    "a memo of gigabytes": b"\x80\x02}r" + struct.pack("<I", 0xFFFFFFFF) + b".",
    "a frame of exabytes": b"\x80\x04\x95" + struct.pack("<Q", 1 << 62) + b"}.",
}
HOSTILE |= {f"a call of {path}": file(call(path, plain("x"))) for path in CALLS}
HOSTILE |= {f"a call of {path} with nothing": file(call(path)) for path in set(KNOWN) - EMPTY}

READ_ALL = """
import resource, sys
from pathlib import Path
from ssl_ext.engine.weights.files import read_weights
from ssl_ext.errors import UserError
before, peak = set(sys.modules), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sorted(Path(sys.argv[1]).glob("*.pkl")):
    try:
        read_weights(path)
        print(path.stem, "read", flush=True)
    except UserError as error:
        print(path.stem, "refused", flush=True)
print("imported", sorted(set(sys.modules) - before))
print("megabytes", (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) // 1024)
"""


def test_hostile_files_are_refused_and_nothing_crashes(tmp_path):
    """Run in another process, to detect crashes."""
    for number, content in enumerate((HOSTILE | HARMLESS).values()):
        (tmp_path / f"{number:03}.pkl").write_bytes(content)
    command = [sys.executable, "-c", READ_ALL, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    *lines, imported, megabytes = done.stdout.splitlines() or [""] * 2
    assert done.returncode == 0, f"after {lines[-3:]}: {done.stderr[-500:]}"
    found = dict(line.split() for line in lines)
    expected = dict.fromkeys(HOSTILE, "refused") | dict.fromkeys(HARMLESS, "read")
    assert {label: found[f"{i:03}"] for i, label in enumerate(expected)} == expected
    assert imported == "imported []" and int(megabytes.split()[1]) < 500


@pytest.mark.parametrize("path", sorted(set(CALLS) - set(KNOWN)))
def test_a_name_that_is_not_known_is_refused_by_name(path):
    module, _, end = path.rpartition(".")
    stacked = plain(module) + plain(end) + b"\x93" + together(plain("x")) + b"R"
    for content in (call(path, plain("x")), name(path), stacked):
        with pytest.raises(UserError, match=f"would run {path},"):
            read_array_pickle(file(content))


def test_names_of_numpy_that_are_known_are_these():
    assert {path for path in KNOWN if path.startswith("numpy")} == {
        *(
            f"numpy.{core}.multiarray.{end}"
            for core in ("core", "_core")
            for end in ("_reconstruct", "scalar")
        ),
        *(f"numpy.{core}.numeric._frombuffer" for core in ("core", "_core")),
        *("numpy.ndarray", "numpy.dtype"),
    }
    assert all(type(value) is str for value in KNOWN.values())


ARRAYS = [
    *(
        np.arange(-3, 3).astype(code)
        for code in ("<f2", "<f4", "<f8", ">f4", ">i2", "i1", "i8", "u1", ">u2", "=u4")
    ),
    *(np.array([True, False]), np.zeros((0, 3), "f4"), np.array(2.5), np.float32([[1, 2, 3], [4, 5, 6]]).T),
    *(np.asfortranarray(np.arange(24.0).reshape(2, 3, 4)), np.arange(10)[::2], np.array([], "i4")),
]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_arrays_of_numbers_keep_their_values(protocol):
    shared = np.float32([1, 2])
    content = dict(
        a=ARRAYS, b=(shared, [shared, None, True, -1, 2**70, 1.5, "ü", b"\xff"]), c=np.float64(0.1), d={1: {}}
    )
    content["e"] = OrderedDict(x=np.int64(-7), y=np.bool_(True))
    read = read_array_pickle(pickle.dumps(content, protocol=protocol))
    for array, tensor in zip(ARRAYS, read["a"], strict=True):
        assert tensor.shape == array.shape and tensor.numpy().dtype == array.dtype.newbyteorder("=")
        np.testing.assert_array_equal(tensor.numpy(), array)
    assert read["b"][0] is read["b"][1][0] and read["b"][0].tolist() == [1, 2]
    assert read["b"][1][1:] == [None, True, -1, 2**70, 1.5, "ü", b"\xff"]
    assert (read["c"], read["d"], read["e"]) == (0.1, {1: {}}, dict(x=-7, y=True))


def test_files_of_python_2_and_state_dicts_with_metadata():
    """They store bytes of arrays as text and build an OrderedDict from pairs."""
    data = np.float32([1.5, -2]).tobytes()
    body = call("numpy.core.multiarray._reconstruct", name("numpy.ndarray"), plain((0,)), b"U\x01b") + state(
        plain(1), plain((2,)), dtype(), plain(False), b"U" + bytes([len(data)]) + data
    )
    assert read_array_pickle(file(body))["model"]["w"].tolist() == [1.5, -2]
    pairs = name("collections.OrderedDict") + b"(]](" + plain("a") + plain(1) + b"eatR"
    assert read_array_pickle(b"\x80\x02" + pairs + b".") == {"a": 1}
    state_dict = torch.nn.Linear(2, 1).state_dict()
    for key, value in state_dict.items():
        state_dict[key] = value.numpy()
    assert set(read_array_pickle(pickle.dumps(state_dict))) == {"weight", "bias"}


def test_a_container_that_a_file_repeats_is_read_once():
    content = {}
    for _ in range(60):
        content = {"a": content, "b": content}
    read = read_array_pickle(pickle.dumps(content))
    assert read["a"] is read["b"]


def test_cut_and_changed_files_are_one_sentence(tmp_path):
    content = pickle.dumps(dict(model=dict(w=np.ones((3, 3), "f4"), v=np.arange(5))), protocol=4)
    generator = np.random.default_rng(0)
    path = tmp_path / "w.pkl"
    for _ in range(300):
        changed = bytearray(content[: generator.integers(1, len(content) + 1)])
        for _ in range(generator.integers(0, 4)):
            changed[generator.integers(len(changed))] = generator.integers(256)
        path.write_bytes(changed)
        try:
            read_weights(path)
        except UserError as error:
            assert str(path) in str(error) and "\n" not in str(error)

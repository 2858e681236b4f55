"""Errors in user input, and how the command-line tools report them."""

from __future__ import annotations

import atexit
import codecs
import difflib
import errno
import io
import logging
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .console import says_that_it_loads
from .logs import warnings_in_log
from .processes import follow_parent

TRACEBACK_SWITCH = "SSL_EXT_TRACEBACK"
# Start of the message of MMEngine's registries for an unknown type.
UNKNOWN_NAME = re.compile(r"(\S+) is not in the \w+::([\w ]+) registry")
# Modules whose imports register classes.
REGISTERED_IN = {"model": "ssl_ext/models/selfsup/__init__.py", "dataset": "ssl_ext/datasets/__init__.py"}
IN_WORKER = "\nOriginal Traceback "
MAX_LENGTH = 2000
NEEDED = ("torch", "torchvision", "mmengine", "mmcv", "mmpretrain", "numpy", "PIL", "rich")
# 128 + SIGINT, the status that shells use.
INTERRUPT_STATUS = 130
# System errors that the user can correct: no space, or no permission.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
REFUSED = (*FULL, errno.EACCES, errno.EPERM)
# Registered name of the error handler of streams.
PRINTABLE = "ssl_ext.printable"
ASCII = {"±": "+-", "×": "x", "…": "...", "–": "-", "—": "-", "−": "-", "→": "->", "≥": ">=", "≤": "<="}
ASCII |= {"·": ".", "†": "+", "‡": "++", "λ": "lambda", "µ": "u", "’": "'", "“": '"', "”": '"'}


def missing_package(name: str) -> str:
    """Return the sentence for a package that this interpreter does not have."""
    script = Path(__file__).parents[1] / ".venv" / "bin" / "activate"
    known = script.is_file()
    return (
        f"{sys.executable} has no package {name!r}: activate the environment of the project (source "
        f"{shlex.quote(str(script)) if known else '.venv/bin/activate'})"
        f"{'' if known else ', or install ssl-ext'}."
    )


class UserError(ValueError):
    """Invalid user input; the message is one sentence that says how to correct it."""


class OtherNetworkError(UserError):
    """Weights of another network or method than the config's."""


@contextmanager
def user_errors(what: str) -> Iterator[None]:
    """Turn errors raised while ``what`` is built from user input into :class:`UserError`."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in FULL:
            # Not caused by the input.
            raise
        # Constructors of other libraries raise many types on unexpected arguments.
        raise UserError(f"{what}: {sentence(error)}") from error


def sentence(error: BaseException) -> str:
    """Message of an exception in one line; its type name if it has no message.

    >>> sentence(KeyError("Foo is not in the ssl_ext::model registry. Please check ..."))
    "type='Foo' is not a registered model: correct it, or import it in ssl_ext/models/selfsup/__init__.py"
    >>> sentence(KeyError("dataset"))
    "the key 'dataset' is missing"
    """
    text = str(error.args[0] if error.args and isinstance(error, KeyError) else error)
    if IN_WORKER in text:
        # An error in a data loader's worker carries the worker's traceback; the last line is the error.
        text = text.strip().splitlines()[-1].partition(": ")[2]
    text = " ".join(text.split())
    if unknown := UNKNOWN_NAME.match(text):
        place = REGISTERED_IN.get(unknown[2])
        hint = f": correct it, or import it in {place}" if place else ""
        return f"type={unknown[1]!r} is not a registered {unknown[2]}{hint}"
    if isinstance(error, KeyError) and text.isidentifier():
        return f"the key {text!r} is missing"
    return text[:MAX_LENGTH] or type(error).__name__


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """End of a sentence that names the most similar known word; empty if none is similar.

    >>> did_you_mean("trimx", ["simclr", "trimix"]), did_you_mean("x", ["trimix"])
    ("; did you mean 'trimix'?", '')
    """
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def in_ascii(text: str) -> str:
    r"""Convert a text to ASCII: known symbols are spelled out, other characters escaped.

    >>> print(in_ascii("65.7 ± 5.6 → é"))
    65.7 +- 5.6 -> \xe9
    """
    return "".join(ASCII.get(char, char) for char in text).encode("ascii", "backslashreplace").decode()


def _printable(error: UnicodeError) -> tuple[str | bytes, int]:
    """Codec error handler: keep the bytes of file names, convert other characters to ASCII."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    char = error.object[error.start]
    raw = "\udc80" <= char <= "\udcff" and error.encoding == "utf-8"
    return char.encode(errors="surrogateescape") if raw else in_ascii(char), error.start + 1


codecs.register_error(PRINTABLE, _printable)


@contextmanager
def _printing() -> Iterator[None]:
    """Let standard streams accept any text, and suppress tracebacks of log lines that cannot be written."""
    streams = [(s, s.errors) for s in (sys.stdout, sys.stderr) if isinstance(s, io.TextIOWrapper)]
    before, logging.raiseExceptions = logging.raiseExceptions, False
    for stream, _ in streams:
        stream.reconfigure(errors=PRINTABLE)
    try:
        yield
    finally:
        logging.raiseExceptions = before
        for stream, errors in streams:
            # This flushes the stream, which fails on a full disk.
            with suppress(OSError, ValueError):
                stream.reconfigure(errors=errors)


@_printing()
@warnings_in_log()
@says_that_it_loads()
def run_tool(main: Callable[[], None]) -> None:
    """Run a tool's ``main`` and turn expected errors into one sentence and an exit status.

    :class:`UserError` exits with status 2, FloatingPointError (a non-finite loss) with status 1, Ctrl-C with
    status 130. If ``main`` joined a process group, leaves it and ends the process. A tool started by another
    one ends with it. The environment variable ``SSL_EXT_TRACEBACK=1`` enables tracebacks.
    """
    status = 0
    # No library may unpickle code from files in a tool.
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    follow_parent()
    try:
        main()
        # Flushed before exit, so a full disk is reported in one sentence.
        sys.stdout.flush()
    except (UserError, FloatingPointError) as error:
        if os.environ.get(TRACEBACK_SWITCH):
            raise
        sys.stderr.write(f"error: {sentence(error)}\n")
        sys.exit(2 if isinstance(error, UserError) else 1)
    except OSError as error:
        if os.environ.get(TRACEBACK_SWITCH) or error.errno not in REFUSED:
            raise
        name = f"'{error.filename}'" if error.filename else "the output"
        sys.stderr.write(f"error: {name}: {error.strerror}.\n")
        sys.exit(2)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if os.environ.get(TRACEBACK_SWITCH) or package not in NEEDED:
            raise
        sys.stderr.write(f"error: {missing_package(package)}\n")
        sys.exit(2)
    except SystemExit as stop:
        # Status 128 + signal: all processes received the signal and have saved.
        if not isinstance(stop.code, int) or stop.code < 128:
            raise
        status = stop.code
    except KeyboardInterrupt:
        if os.environ.get(TRACEBACK_SWITCH):
            raise
        sys.stderr.write("interrupted\n")
        status = INTERRUPT_STATUS
    # Without torch there is no process group.
    dist = sys.modules.get("torch.distributed")
    if dist and dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
        _leave_process(status)
    if status:
        sys.exit(status)


def _leave_process(status: int) -> None:
    """End the process without interpreter shutdown.

    Gloo's threads may still hold the tensors of the last collective, and freeing them during interpreter
    shutdown aborts the process (pytorch/pytorch#179291). Not called after an error, where it could wait
    for a process that has ended.
    """
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)

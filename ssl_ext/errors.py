"""Errors in user input, and how the command-line tools report them."""

from __future__ import annotations

import atexit
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch.distributed as dist

TRACEBACK_SWITCH = "SSL_EXT_TRACEBACK"
# Start of the message of MMEngine's registries for an unknown type.
UNKNOWN_NAME = re.compile(r"(\S+) is not in the \w+::([\w ]+) registry")
IN_WORKER = "\nOriginal Traceback "
MAX_LENGTH = 2000


class UserError(ValueError):
    """Invalid user input; the message is one sentence that says how to correct it."""


@contextmanager
def user_errors(what: str) -> Iterator[None]:
    """Turn errors raised while ``what`` is built from user input into :class:`UserError`."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        # Constructors of other libraries raise many types on unexpected arguments.
        raise UserError(f"{what}: {sentence(error)}") from error


def sentence(error: BaseException) -> str:
    """Message of an exception in one line; its type name if it has no message.

    >>> sentence(KeyError("Foo is not in the ssl_ext::model registry. Please check ..."))
    "type='Foo' is no registered model"
    >>> sentence(KeyError("dataset"))
    "the key 'dataset' is missing"
    """
    text = str(error.args[0] if error.args and isinstance(error, KeyError) else error)
    if IN_WORKER in text:
        # An error in a data loader's worker carries the worker's traceback; the last line is the error.
        text = text.strip().splitlines()[-1].partition(": ")[2]
    text = " ".join(text.split())
    if unknown := UNKNOWN_NAME.match(text):
        return f"type={unknown[1]!r} is no registered {unknown[2]}"
    if isinstance(error, KeyError) and text.isidentifier():
        return f"the key {text!r} is missing"
    return text[:MAX_LENGTH] or type(error).__name__


def run_tool(main: Callable[[], None]) -> None:
    """Run a tool's ``main`` and turn expected errors into one sentence and an exit status.

    :class:`UserError` exits with status 2, FloatingPointError (a non-finite loss) with status 1. If
    ``main`` joined a process group, leaves it and ends the process. Set the environment variable
    ``SSL_EXT_TRACEBACK=1`` to get tracebacks.
    """
    status = 0
    # No library may unpickle code from files in a tool.
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    try:
        main()
    except (UserError, FloatingPointError) as error:
        if os.environ.get(TRACEBACK_SWITCH):
            raise
        sys.stderr.write(f"error: {sentence(error)}\n")
        sys.exit(2 if isinstance(error, UserError) else 1)
    except SystemExit as stop:
        # Status 128 + signal: all processes received the signal and have saved.
        if not isinstance(stop.code, int) or stop.code < 128:
            raise
        status = stop.code
    if dist.is_available() and dist.is_initialized():
        _leave_process_group(status)
    if status:
        sys.exit(status)


def _leave_process_group(status: int) -> None:
    """Leave the process group and exit without interpreter shutdown.

    Gloo's threads may still hold the tensors of the last collective, and freeing them during interpreter
    shutdown aborts the process (pytorch/pytorch#179291). Not called after an error, where it could wait
    for a process that has ended.
    """
    dist.destroy_process_group()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)

"""Errors that are the user's to mend, and how the command-line tools show them."""

from __future__ import annotations

import atexit
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

TRACEBACK_SWITCH = "SSL_EXT_TRACEBACK"
# How MMEngine's registries say it, over several lines and with a link.
UNKNOWN_NAME = re.compile(r"(\S+) is not in the \w+::([\w ]+) registry")
# Where a new class is imported, so that it is registered.
REGISTERED_IN = {"model": "ssl_ext/models/selfsup/__init__.py", "dataset": "ssl_ext/datasets/__init__.py"}
IN_WORKER = "\nOriginal Traceback "
MAX_LENGTH = 2000


class UserError(ValueError):
    """Bad input, found before work starts; its message is one sentence a user can act on."""


@contextmanager
def user_errors(what: str) -> Iterator[None]:
    """Turn errors raised while ``what`` is built from user input into :class:`UserError`."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        # Constructors of other libraries fail in any way when they are given what they did not expect.
        raise UserError(f"{what}: {sentence(error)}") from error


def sentence(error: BaseException) -> str:
    """What an exception says, in one line and without its type where that adds nothing.

    >>> sentence(KeyError("Foo is not in the ssl_ext::model registry. Please check ..."))
    "type='Foo' is no registered model: correct it, or import it in ssl_ext/models/selfsup/__init__.py"
    >>> sentence(KeyError("dataset"))
    "the key 'dataset' is missing"
    """
    text = str(error.args[0] if error.args and isinstance(error, KeyError) else error)
    if IN_WORKER in text:
        # A worker of a data loader hands its whole traceback on; the last line is the error.
        text = text.strip().splitlines()[-1].partition(": ")[2]
    text = " ".join(text.split())
    if unknown := UNKNOWN_NAME.match(text):
        place = REGISTERED_IN.get(unknown[2])
        hint = f": correct it, or import it in {place}" if place else ""
        return f"type={unknown[1]!r} is no registered {unknown[2]}{hint}"
    if isinstance(error, KeyError) and text.isidentifier():
        return f"the key {text!r} is missing"
    return text[:MAX_LENGTH] or type(error).__name__


def run_tool(main: Callable[[], None]) -> None:
    """Run a tool's ``main``; a :class:`UserError` ends it with one sentence and exit status 2.

    Numbers that stopped being finite end it with one sentence, too, and exit status 1. A process group
    that ``main`` joined is left, and the process ends here.

    Set the environment variable ``SSL_EXT_TRACEBACK=1`` to see the traceback as well.
    """
    status = 0
    # Other libraries load files as well; in a tool none of them may run what is in a file.
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    try:
        main()
    except (UserError, FloatingPointError) as error:
        if os.environ.get(TRACEBACK_SWITCH):
            raise
        sys.stderr.write(f"error: {sentence(error)}\n")
        sys.exit(2 if isinstance(error, UserError) else 1)
    except SystemExit as stop:
        # All processes were told to end and have saved.
        if not isinstance(stop.code, int) or stop.code < 128:
            raise
        status = stop.code
    # A tool that ended before it imported torch is in no group.
    dist = sys.modules.get("torch.distributed")
    if dist and dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
        _leave_process(status)
    if status:
        sys.exit(status)


def _leave_process(status: int) -> None:
    """End this process well, without tearing the interpreter down.

    Gloo's threads may still hold the tensors of the last collective; one that frees them while the
    interpreter shuts down aborts the process (pytorch/pytorch#179291). After an error this is not done:
    leaving the group could wait for a peer that is gone.
    """
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)

"""Current names, imports, options and configs."""

import argparse
import importlib
import inspect
import io
import os
import re
import runpy
import sys
from contextlib import redirect_stdout
from unittest import mock

from snapshot import ROOT, plain

from ssl_ext import registry
from ssl_ext.apis import load_config
from ssl_ext.errors import UserError

PACKAGES = (
    "apis", "apis.report", "augment", "datasets", "detection", "engine", "env", "errors", "evaluation",
    "exporting", "files", "losses", "mixups", "models", "registry", "visualization",
)  # fmt: skip
REQUIRED, ANYTHING = "required", "**"
# Packages whose base classes' parameters are recorded too.
FAMILY = {"ssl_ext", "mmpretrain", "mmengine"}
# Options of benchmarks may change.
EXEMPT = {"benchmark"}
# Where commands and programs for users are written, and what tools/export.py prints.
TEXTS = ("README.md", "setup.py", "configs/**/*.md", "configs/**/*.py", "tools/*.md", "tools/*.sh")
PRINTED = ("ssl_ext.apis.torchvision_resnet", "ssl_ext.apis.timm_resnet")
MENTION = re.compile(r"\bssl_ext(?:\.\w+)+")


def signature(function):
    """Parameters that a caller may name, with defaults; for a class including those of its bases."""
    if not inspect.isclass(function):
        return _parameters(function)
    found = {ANYTHING: ANYTHING}
    for base in inspect.getmro(function):
        if ANYTHING not in found or base.__module__.partition(".")[0] not in FAMILY:
            break
        if "__init__" in vars(base):
            own = _parameters(base.__init__)
            own.pop("self", None)
            del found[ANYTHING]
            found = own | found
    return found


def _parameters(function):
    found = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            found[ANYTHING] = ANYTHING
        elif parameter.kind is not parameter.VAR_POSITIONAL:
            default = parameter.default
            found[name] = (
                REQUIRED if default is parameter.empty else getattr(default, "__name__", repr(default))
            )
    return found


def registered(recorded=None, only=None):
    """Registered names with signatures, for each registry of this project."""
    importlib.import_module("ssl_ext.detection")
    found = {}
    for children in vars(registry).values():
        if isinstance(children, registry.Registry) and children.scope == registry.SCOPE:
            children.import_from_location()
            found[children.name] = {
                name: signature(item) if item.__module__.startswith("ssl_ext.") else {}
                for name, item in children.module_dict.items()
            }
    return found


def imports(recorded=None, only=None):
    """Public names of each package (with signatures for ``ssl_ext.apis``), and names used in texts."""
    found = {}
    for package in PACKAGES:
        path = f"ssl_ext.{package}"
        module = importlib.import_module(path)
        names = getattr(module, "__all__", None) or [
            name
            for name, item in vars(module).items()
            if not name.startswith("_")
            and (
                getattr(item, "__module__", None) == module.__name__
                or getattr(item, "scope", None) == "ssl_ext"
            )
        ]
        held = [name for name in (recorded or {}).get(path, ()) if hasattr(module, name)]
        found[path] = {
            name: signature(getattr(module, name)) if package == "apis" else {} for name in [*names, *held]
        }
    texts = [text for place in TEXTS for text in ROOT.glob(place)]
    names = {name for text in texts for name in MENTION.findall(text.read_text())}
    found["mentioned"] = {
        name: {}
        for name in sorted({*names, *PRINTED, *(recorded or {}).get("mentioned", ())})
        if exists(name)
    }
    return found


def exists(name):
    """True if a dotted name is a module or an attribute of one."""
    try:
        importlib.import_module(name)
        return True
    except ImportError:
        parent, _, attribute = name.rpartition(".")
        return bool(parent) and hasattr(importlib.import_module(parent), attribute)


class _ParserReached(BaseException):
    """Ends a tool when it parses its arguments; not caught by the tool's handlers."""


def options(recorded=None, only=None):
    """Options and arguments of each tool and each of its commands."""
    found = {}
    for path in sorted((ROOT / "tools").glob("*.py")):
        if path.stem not in EXEMPT and (only is None or any(e.split()[0] == path.stem for e in only)):
            parser, given = reached_parser(path)
            _collect(parser, path.stem, given, found)
    return found


def reached_parser(path):
    """Argument parser of a tool, and the words that it parses."""

    def stop(self, args=None, namespace=None):
        raise _ParserReached(self, sys.argv[1:] if args is None else list(args))

    environment = dict(os.environ)
    with (
        mock.patch.multiple(argparse.ArgumentParser, parse_args=stop, parse_known_args=stop),
        mock.patch.object(sys, "argv", [str(path)]),
        redirect_stdout(io.StringIO()),
    ):
        try:
            runpy.run_path(str(path), run_name="__main__")
        except _ParserReached as reached:
            return reached.args
        finally:
            os.environ.clear()
            os.environ.update(environment)
    raise AssertionError(f"tools/{path.name} ended before it parsed its arguments")


def _collect(parser, name, given, found):
    own, position = {}, 0
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            if given and given[0] in action.choices:
                # The tool runs one command of a larger program.
                _collect(action.choices[given[0]], name, given[1:], found)
                return
            for command, inner in action.choices.items():
                _collect(inner, f"{name} {command}", (), found)
        elif not isinstance(action, argparse._HelpAction):
            if not action.option_strings:
                position += 1
            for key in action.option_strings or [f"argument {position}"]:
                own[key] = _describe(action)
    if own:
        found[name] = own


def _describe(action):
    default = plain(action.default)
    described = dict(
        nargs=action.nargs,
        # Treat an empty list and False as no default.
        default=None if default is False or default == [] else default,
        choices=action.choices and sorted(map(str, action.choices)),
        required=action.required,
        const=plain(action.const),
    )
    return plain(described)


def configs(recorded=None, only=None):
    """All values of every shipped config, and of every recorded path that still loads."""
    files = {path.relative_to(ROOT).as_posix() for path in (ROOT / "configs").rglob("*.py")}
    paths = {
        path
        for path in files | set(recorded or ())
        if not any(f"/{folder}/" in path for folder in ("_base_", "papers"))
    }
    found = {}
    for path in sorted(paths if only is None else only):
        try:
            found[path] = resolved(path)
        except UserError:
            if path in files:
                raise
    return found


def resolved(path):
    """All values of a config, given by its path relative to the project folder."""
    return plain(load_config(path).to_dict())


PARTS = dict(names=registered, imports=imports, options=options, configs=configs)

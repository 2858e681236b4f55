"""Overrides of a config, as ``key=value`` on the command line."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

from mmengine.config import DictAction

from ssl_ext.errors import UserError, user_errors

PAIRS = {"[": "]", "(": ")"}


def parse_options(pairs: Sequence[str], option: str = "--cfg-options") -> dict:
    """``['a.b=1', 'c=[2,3]']`` as ``{'a.b': 1, 'c': [2, 3]}``.

    A value is a Python literal or an unquoted string; ``a,b`` is a list of two; a path may contain commas.
    ``option`` is named in errors.

    Raises:
        UserError: A pair without ``=``, or brackets that do not match.
    """
    options = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UserError(f"{option} '{pair}' is not of the form key=value.")
        with user_errors(f"{option} '{pair}'"):
            options[key] = _value(value)
    return options


def split_commas(text: str) -> list[str]:
    """Split at the commas outside brackets and quotes; an apostrophe inside a word is not a quote.

    Raises:
        ValueError: Brackets do not match.

    >>> split_commas("(0.2,1),'a,b',x")
    ['(0.2,1)', "'a,b'", 'x']
    """
    parts, depth, quote, before = [""], 0, "", ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"" and before in ("", *"([{,:= "):
            quote = character
        else:
            depth += (character in "([{") - (character in ")]}")
            if depth < 0:
                raise ValueError("the brackets do not match")
            if character == "," and depth == 0:
                parts.append("")
                before = ""
                continue
        parts[-1] += character
        before = character
    if depth:
        raise ValueError("the brackets do not match")
    return parts


def _value(text: str) -> Any:
    text = text.strip()
    if "/" in text and text[0] not in "[({'\"":
        return text
    parts = split_commas(text)
    if len(parts) > 1:
        return [_value(part) for part in parts if part.strip()]
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        pass
    if text[:1] in PAIRS and text.endswith(PAIRS[text[0]]):
        items = [_value(part) for part in split_commas(text[1:-1]) if part.strip()]
        return tuple(items) if text[0] == "(" else items
    if text.startswith("{"):
        raise ValueError("write a dict as in Python, with quotes: {'name': 1}")
    return DictAction._parse_int_float_bool(text)

"""Escaping of texts for Markdown, LaTeX and spreadsheets."""

from __future__ import annotations

import re
from typing import Any

# Markdown markup. Underscores within words, and & or # that start no entity or heading, are plain text.
MARKUP = re.compile(r"[\\`*\[\]<>|~]|(?<!\w)_|_(?!\w)|&(?=#?\w+;)|^[#+-](?= )")
# Characters that start a formula in spreadsheets.
FORMULA = ("=", "+", "-", "@", "\t", "\r")
NUMBER = r"-?[\d.]+(e[+-]?\d+)?"
NUMBERS = re.compile(rf"{NUMBER}( {NUMBER})*|-")
LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
        "<": r"\textless{}", ">": r"\textgreater{}", "±": r"$\pm$", "≥": r"$\geq$", "→": r"$\rightarrow$",
        "|": r"\textbar{}", "[": "{[}",  # [ after \\ starts an optional argument
        **{symbol: f"\\{symbol}" for symbol in "&%$#_{}"},
    }
)  # fmt: skip


def markdown(text: str) -> str:
    r"""Escape a text for GitHub's Markdown, in one line.

    >>> print(markdown("a|b [c](d) my_data"))
    a\|b \[c\](d) my_data
    """
    return MARKUP.sub(r"\\\g<0>", " ".join(text.split()))


def latex(text: str) -> str:
    r"""Escape a text for LaTeX, in one line.

    >>> print(latex("50 % of_all"))
    50 \% of\_all
    """
    return " ".join(text.split()).translate(LATEX)


def spreadsheet(value: Any) -> Any:
    """Prefix a text that a spreadsheet would run as a formula with an apostrophe; numbers are none.

    >>> [spreadsheet(value) for value in ("=1+1", -0.5, "-1+1", "-0.5 1e-05", "-")]
    ["'=1+1", -0.5, "'-1+1", '-0.5 1e-05', '-']
    """
    formula = isinstance(value, str) and value.startswith(FORMULA) and not NUMBERS.fullmatch(value)
    return f"'{value}" if formula else value

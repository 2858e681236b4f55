"""Texts of result files as Markdown, LaTeX and spreadsheets show them unchanged."""

from __future__ import annotations

import re
from typing import Any

# What Markdown would read as markup: not an underscore within a word, nor & and # that begin nothing.
MARKUP = re.compile(r"[\\`*\[\]<>|~]|(?<!\w)_|_(?!\w)|&(?=#?\w+;)|^[#+-](?= )")
# What a spreadsheet would take for the start of a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r")
LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
        "<": r"\textless{}", ">": r"\textgreater{}", "±": r"$\pm$", "≥": r"$\geq$", "→": r"$\rightarrow$",
        "|": r"\textbar{}", "[": "{[}",  # a line that begins with [ would be an option of the one before
        **{symbol: f"\\{symbol}" for symbol in "&%$#_{}"},
    }
)  # fmt: skip


def markdown(text: str) -> str:
    r"""One line that GitHub's Markdown shows as the text.

    >>> print(markdown("a|b [c](d) my_data"))
    a\|b \[c\](d) my_data
    """
    return MARKUP.sub(r"\\\g<0>", " ".join(text.split()))


def latex(text: str) -> str:
    r"""One line that LaTeX prints as the text.

    >>> print(latex("50 % of_all"))
    50 \% of\_all
    """
    return " ".join(text.split()).translate(LATEX)


def spreadsheet(value: Any) -> Any:
    """A value that a spreadsheet does not run: a text like a formula begins with an apostrophe.

    >>> spreadsheet("=1+1"), spreadsheet(-0.5), spreadsheet("SimCLR")
    ("'=1+1", -0.5, 'SimCLR')
    """
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value

"""The records of table.txt."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path


@dataclass(frozen=True)
class Mutant:
    """A bug in ``ssl_ext/<file>``, and the tests (in ``tests/``) that should fail.

    ``edits`` are pairs of a text and its replacement. ``equivalent`` gives the reason why no test can fail.
    """

    file: str
    bug: str
    tests: tuple[str, ...]
    edits: tuple[tuple[str, str], ...]
    equivalent: str = ""

    @property
    def path(self) -> str:
        """Path relative to the repository."""
        return f"ssl_ext/{self.file}"

    def applied(self, text: str) -> str:
        """Return the content of the file with the bug.

        Raises:
            ValueError: A text to replace does not occur exactly once.
        """
        for old, new in self.edits:
            if text.count(old) != 1:
                raise ValueError(f"{self}: {text.count(old)} times in the file: {old!r}")
            text = text.replace(old, new)
        return text

    def __str__(self) -> str:
        return f"{self.file}: {self.bug}"


def read_table(text: str) -> list[Mutant]:
    """Parse a table; the first paragraph and paragraphs that start with # are comments.

    >>> read_table("A table.\\n\\none.py: wrong sign\\ntests: test_one.py\\n- a + b\\n+ a - b")[0].edits
    (('a + b', 'a - b'),)
    """
    records = [record.splitlines() for record in text.split("\n\n")[1:]]
    return [_record(lines) for lines in records if not lines[0].startswith("#")]


def _record(lines: list[str]) -> Mutant:
    file, _, bug = lines[0].partition(": ")
    words = dict(line.split(": ", 1) for line in lines[1:] if line[0] not in "-+")
    changes = [line for line in lines if line[0] in "-+"]
    return Mutant(file, bug, tuple(words.pop("tests").split()), tuple(_pairs(changes)), **words)


def _pairs(lines: list[str]) -> Iterator[tuple[str, str]]:
    blocks = ["\n".join(line[2:] for line in block) for _, block in groupby(lines, key=lambda line: line[0])]
    return zip(blocks[::2], blocks[1::2], strict=True)


MUTANTS = read_table(Path(__file__).with_name("table.txt").read_text(encoding="utf-8"))

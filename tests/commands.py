"""Shell commands of the pages, as bash expands them: loops, variables and braces, but no globs."""

from __future__ import annotations

import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", "CONTRIBUTING.md", "tools/README.md", "tests/README.md"]
PAGES += sorted(str(path.relative_to(ROOT)) for path in (ROOT / "configs").rglob("*.md"))
PROGRAMS = ["python", "ssl-ext", "bash", "source", "pip", "curl", "pytest", "ruff", "mypy", "ray"]
PROGRAMS += ["tools/dist_train.sh", "tools/slurm_train.sh"]
VARIABLES = ["BUDGETS", "RECIPE", "WHICH", "REFERENCES", "DATA_ROOT", "EPOCHS", "RAY_ADDRESS"]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.S | re.M)
# A function in place of each program prints its words and variables. Other programs end the block.
PRELUDE = f"""
set -efu
basename() {{ local name=${{1##*/}}; printf '%s' "${{name%%.*}}"; }}
{"".join(f"{name}() {{ record {name} {chr(34)}$@{chr(34)}; }}{chr(10)}" for name in PROGRAMS)}
record() {{
    printf '%s\\0' "$@"
    for VARIABLE in {" ".join(VARIABLES)}; do
        [ -z "${{!VARIABLE-}}" ] || printf '%s\\0' "$VARIABLE=${{!VARIABLE}}"
    done
    printf '\\n\\0'
}}
PATH=/nowhere
"""


@dataclass(frozen=True)
class Command:
    """Words of a command after expansion, its page, and the variables that were set for it."""

    page: str
    words: tuple[str, ...]
    variables: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join([*self.variables, shlex.join(self.words)])


def blocks(page: str, language: str) -> list[str]:
    """Fenced blocks of a page in a language."""
    return [block for name, block in BLOCK.findall((ROOT / page).read_text("utf-8")) if name == language]


def commands(page: str) -> list[Command]:
    """Commands of the bash blocks of a page, in order."""
    found = []
    for block in blocks(page, "bash"):
        ended = subprocess.run(
            ["bash", "-c", PRELUDE + block], capture_output=True, text=True, check=False, cwd="/"
        )
        assert ended.returncode == 0, f"{page}: {ended.stderr}\n{block}"
        for record in ended.stdout.split("\n\0")[:-1]:
            words = record.split("\0")[:-1]
            names = [word for word in words if word.partition("=")[0] in VARIABLES]
            found.append(Command(page, tuple(words[: len(words) - len(names)]), tuple(names)))
    return found

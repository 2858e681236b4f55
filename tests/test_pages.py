"""The pages: every command is parsed and, with shortened settings, run; links, names and sizes."""

import re
import shlex

import pytest
from commands import BLOCK, PAGES, ROOT, blocks, commands
from pages import CLASSES, OWN, PARSED, check, clone, run, shorten_recipes, stand_in, tool_of

from ssl_ext.registry import DATASETS

COMMANDS = {page: commands(page) for page in PAGES}
# Of the other pages quick tests parse the commands; tests/apis and tests/cli run each tool.
QUICK = ("README.md", "configs/papers/README.md")
BASH = re.compile(r"^```bash\n.*?^```$", re.S | re.M)
SCRIPTS = ("bash tools/dist_train.sh", "bash tools/label_budgets.sh", "python -m ssl_ext.env")
# Processes of their own; quick tests of them are in tests/apis.
LONG = r"(.*/|ssl-ext )(sweep|dist_train|label_budgets)|.*visualize(\.py)? grid"


def parsed_only(command):
    return any(re.match(pattern, f"{command} ") for pattern in PARSED)


def executed(page):
    return [command for command in dict.fromkeys(COMMANDS[page]) if not parsed_only(command)]


@pytest.mark.parametrize("page", [page for page in PAGES if COMMANDS[page]])
def test_commands_are_accepted(page, monkeypatch):
    """By the parser of their tool; configs are there, and epochs are those that a run writes."""
    monkeypatch.chdir(ROOT)
    for command in COMMANDS[page]:
        known = tool_of(command) or parsed_only(command) or shlex.join(command.words).startswith(SCRIPTS)
        assert known, f"{command}: neither run nor parsed"
        check(command, COMMANDS[page], monkeypatch)


def cases():
    """Pages with their commands: of the quick ones all but the long commands, and all of every page."""
    for page in PAGES:
        all_of_it = executed(page)
        quick = [c for c in all_of_it if not re.match(LONG, shlex.join(c.words))]
        if page in QUICK:
            yield pytest.param(page, quick, id=page)
        if all_of_it and (page not in QUICK or quick != all_of_it):
            yield pytest.param(page, all_of_it, id=f"{page}-all", marks=pytest.mark.slow)


@pytest.mark.parametrize(("page", "chosen"), cases())
def test_commands_run(page, chosen, tmp_path, monkeypatch):
    """One after another, in a folder that looks like a fresh clone."""
    clone(tmp_path, page)
    monkeypatch.chdir(tmp_path)
    for name in CLASSES:
        official = DATASETS.get(name)
        monkeypatch.setattr(official, "__init__", stand_in(name, official.__init__))
    shorten_recipes(monkeypatch)
    failed = []
    for command in chosen:
        try:
            run(command)
        except Exception as error:  # the other commands are to be seen too
            failed.append(f"{command}\n    {type(error).__name__}: {str(error)[:600]}")
    assert not failed, "\n".join(failed)


def test_the_main_page_is_short():
    lines = (ROOT / "README.md").read_text("utf-8").splitlines()
    assert len(lines) <= 200
    assert not [line for line in lines if len(line) > 120 and not line.startswith("|")]


def anchors(path):
    """Anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", BLOCK.sub("", path.read_text("utf-8")), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, "ssl_ext/README.md", "tools/scaling.md"])
def test_links_and_names_are_there(page):
    text = (ROOT / page).read_text("utf-8")
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        name, _, anchor = link.partition("#")
        if "://" in link:
            continue
        path = (ROOT / page).parent / name if name else ROOT / page
        assert path.exists(), link
        assert not anchor or anchor in anchors(path), link
    named = re.findall(r"(?<![\w/])(?:configs|tools|ssl_ext|tests)/[a-z0-9_./-]+\.(?:py|sh|md|bib)\b", text)
    assert not [name for name in named if not (ROOT / name).exists()]
    # Commands outside bash blocks would not be run.
    assert not re.search(r"^(    )?(\$ )?(python|ssl-ext|bash|pytest) ", BASH.sub("", text), re.M)


@pytest.mark.slow
def test_the_python_of_the_main_page_runs(tmp_path, monkeypatch):
    clone(tmp_path, "README.md")
    monkeypatch.chdir(tmp_path)
    (text,) = (block for block in blocks("README.md", "python") if "pretrain(" in block)
    names: dict = {}
    exec(text, names)
    assert len(names["features"]) == OWN and (tmp_path / "curves.png").is_file()

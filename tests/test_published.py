"""Published figures are in configs/papers alone.

``python tests/test_published.py`` writes them into the READMEs.
"""

import re
from pathlib import Path

import pytest

from ssl_ext.apis.tables.published import published_grid
from ssl_ext.config.papers import find_tables, read_table

ROOT = Path(__file__).parents[1]
READMES = [path for path in sorted((ROOT / "configs").glob("*/**/README.md")) if path.parent.name != "papers"]
BLOCK = re.compile(r"<!-- ssl-ext table (\S+) --published markdown -->\n(.*?)<!-- end -->", re.S)
# Sections with numbers of this project, or choices.
OWN_TABLES = (
    "Deviations and interpretations",
    "At a small size",
    "Results",
    "Sequences",
    "Small sets",
    "α by data set",
)


def generated(path):
    """The block of a table file, given relative to the repository."""
    markdown = published_grid(ROOT / path).markdown()
    return f"<!-- ssl-ext table {path} --published markdown -->\n{markdown}\n<!-- end -->"


def rewritten(text):
    """A README with its blocks generated again."""
    return BLOCK.sub(lambda found: generated(found[1]), text)


@pytest.mark.parametrize("path", READMES, ids=lambda path: path.parent.name)
def test_a_readme_prints_the_figures_of_configs_papers_and_no_others(path):
    text = path.read_text()
    assert rewritten(text) == text, "python tests/test_published.py"
    for section in re.split(r"\n(?=##+ )", BLOCK.sub("", text)):
        if section.splitlines()[0].strip("# ") in OWN_TABLES:
            continue
        rows = "\n".join(line for line in section.splitlines() if line.startswith("|"))
        printed = {float(number) for number in re.findall(r"(?<![\w.=-])\d+\.\d+(?![\d.\w])", rows)}
        # Those below are learning rates and the like.
        assert not {number for number in printed if number > 0.2}, section.splitlines()[0]


def test_every_table_with_figures_is_in_one_readme():
    files = [path.relative_to(ROOT) for path in find_tables(ROOT / "configs" / "papers")]
    with_figures = [
        str(path) for path in files if any(c.published and c.config for c in read_table(ROOT / path).cells)
    ]
    named = [found[1] for path in READMES for found in BLOCK.finditer(path.read_text())]
    assert sorted(named) == with_figures


def test_figures_are_laid_out_as_printed(tmp_path):
    (tmp_path / "mine.py").write_text(
        "AXES = dict(arm=['a|b'], labels=[10, 'all'], metric=['acc', 'auc'])\n"
        "ROWS, COLUMNS = ['arm'], ['labels', 'metric']\n"
        "CONFIG, EVALUATE, SEEDS = '{arm}', dict(protocols='linear'), [0]\n"
        "METRIC, UNIT, SOURCE = '{metric}', '%', 'Table 1'\n"
        "PUBLISHED = '50.10 .5 - 7'\n"
    )
    grid = published_grid(tmp_path / "mine.py")
    assert grid.header == ["arm", "10, acc", "10, auc", "all, acc", "all, auc"]
    assert grid.rows == [["a|b", "50.10", ".5", "-", "7"]]
    assert (grid.title, grid.words) == ("Table 1 (%)", 1)
    assert "| a\\|b | 50.10 | .5 | - | 7 |" in grid.markdown()


if __name__ == "__main__":
    for readme in READMES:
        readme.write_text(rewritten(readme.read_text()))

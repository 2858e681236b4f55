"""Table of label budgets, and published results beside measured ones."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from ssl_ext.apis.report import report
from ssl_ext.config.papers import read_table
from ssl_ext.errors import UserError
from ssl_ext.evaluation import ResultRow, read_results, write_results

PAPERS = Path(__file__).parents[2] / "configs" / "papers"
NAT = "configs/medical/simclr-nat_resnet18_bloodmnist.py"
BLOOD, PATHOLOGY = (
    dict(type="MedMNIST", name=name, data_root="data") for name in ("bloodmnist", "pathmnist")
)
NETWORK = dict(backbone=dict(type="ResNet", depth=18), neck=dict(type="MLP", layers=[1, 2]))
TRAINED = dict(datasets=[dict(BLOOD, data_root="elsewhere/data2")], seed=0, epoch=9)
OVER = "± is the deviation over 2 probe seeds: budget, 100 labels, frozen, thesis."
PATH = "simclr-nat_resnet18_pathmnist"


def row(
    method,
    protocol,
    acc,
    *,
    config=NAT,
    checkpoint=None,
    data="bloodmnist",
    settings=None,
    facts=None,
    **more,
):
    metrics = {"acc": acc, "auc": acc / 2}
    source = {
        "checkpoint": checkpoint and {"path": f"{checkpoint}/epoch_2.pth", "sha256": f"sha-{checkpoint}"},
        "config": config,
        "dataset": {"type": "MedMNIST", "name": data},
        "network": NETWORK,
        "data": {"test": {"files": [dict(path="blood.npz", md5="0", official=True)]}},
        "pretraining": checkpoint and TRAINED,
        **(facts or {}),
    }
    fields = dict(settings=settings or {}, sizes={"test": 8}, seed=0, source=source, recipe="thesis")
    return ResultRow(method, protocol, metrics, metrics, **{**fields, **more})


@pytest.fixture
def folder(tmp_path):
    def simclr(*args, **more):
        return row("SimCLR", *args, checkpoint="runs/nat", **more)

    rows = [
        simclr("budget", 0.5, mode="frozen", budget=1000),
        *(simclr("budget", acc, mode="frozen", budget=100, seed=i) for i, acc in enumerate((0.6, 0.8))),
        simclr("budget", 0.4, mode="unfrozen", budget=100),
        simclr("budget", 0.9, mode="frozen"),
        simclr("linear", 0.9),
        simclr("linear", 0.3, labels_per_class=10),
        simclr("finetune", 0.2, labels_per_class=10),
        simclr("knn", 0.1),
        simclr("transfer", 0.1, mode="frozen", target="pathmnist"),
        row("supervised", "supervised", 0.25, budget=100),
    ]
    write_results(tmp_path / "runs" / "results.json", rows)
    (tmp_path / "medical").mkdir()
    for stem, data in (("bloodmnist", BLOOD), ("pathmnist", PATHOLOGY)):
        (tmp_path / "medical" / f"simclr-nat_resnet18_{stem}.py").write_text(
            f"model = dict(type='SimCLR', **{dict(NETWORK, neck=dict(type='MLP', layers=(1, 2)))})\n"
            f"train_dataloader = dict(dataset={data})\ntrain_cfg = dict(by_epoch=True, max_epochs=9)\n"
        )
    (tmp_path / "papers").mkdir()
    return tmp_path


def write_table(
    path, published=".771 .957", metric=("acc", "auc"), labels=(100,), evaluate=None, cell="", **more
):
    """Write a table of one row: labels x metrics."""
    names = dict(
        AXES=dict(arm=["x"], labels=list(labels), metric=list(metric)),
        ROWS=["arm"],
        COLUMNS=["labels", "metric"],
        CONFIG="simclr-nat_resnet18_bloodmnist",
        EVALUATE=evaluate or dict(protocols="budget", modes="frozen", budgets="{labels}"),
        METRIC="{metric}",
        UNIT="",
        SOURCE="A paper, Table 1",
        RECIPES=["thesis"],
        SEEDS=[0],
        PUBLISHED=published,
    )
    lines = [f"{name} = {value!r}" for name, value in {**names, **more}.items()]
    path.write_text("\n".join([*lines, f"def cell(**at): return dict({cell})"]))
    return path


def table(folder, references=None):
    (grid,), _ = report([folder / "runs"], out_dir=folder / "out", layout="budgets", references=references)
    return grid


def test_methods_down_and_numbers_of_labels_across(folder):
    grid = table(folder)
    labels = ("100", "1000", "10/class", "all")
    assert grid.header == ["data", "method", "backbone"] + [
        f"{name}: {metric}" for name in labels for metric in ("acc. %", "AUC")
    ]
    assert grid.rows == [
        ["bloodmnist", "SimCLR", "frozen, thesis", "70.00 ± 14.14 (n=2)", "0.3500 ± 0.0707 (n=2)",
         "50.00 (n=1)", "0.2500 (n=1)", "30.00 (n=1)", "0.1500 (n=1)", "90.00 (n=1)", "0.4500 (n=1)"],
        ["bloodmnist", "SimCLR", "unfrozen, thesis", "40.00 (n=1)", "0.2000 (n=1)", "-", "-", "20.00 (n=1)",
         "0.1000 (n=1)", "-", "-"],
        ["bloodmnist", "supervised", "unfrozen, thesis", "25.00 (n=1)", "0.1250 (n=1)", *["-"] * 6],
    ]  # fmt: skip
    assert grid.notes == [OVER]
    assert (folder / "out" / "results.md").read_text().startswith("**last epoch")


def test_rows_of_one_method_stand_together(folder):
    other = [
        row("SimCLR", "budget", 0.1, mode=mode, budget=100, checkpoint="runs/nov")
        for mode in ("frozen", "unfrozen")
    ]
    write_results(folder / "runs" / "other" / "results.json", other)
    assert [[cells[1], cells[2].removesuffix(", thesis")] for cells in table(folder).rows] == [
        ["SimCLR (nov)", "frozen"], ["SimCLR (nov)", "unfrozen"],
        ["SimCLR (nat)", "frozen"], ["SimCLR (nat)", "unfrozen"], ["supervised", "unfrozen"],
    ]  # fmt: skip


def test_every_figure_is_shown_in_the_least_width(folder):
    grid = table(folder, write_table(folder / "papers" / "table.py"))
    console = Console(width=grid.least_width, file=io.StringIO(), markup=False)
    console.print(grid.rich())
    shown = console.file.getvalue()
    words = {word for cells in grid.rows for cell in cells[3:] for word in cell.split()}
    assert words >= {"70.00", "14.14", "(77.1)", "(0.957)"}
    assert all(word in shown for word in words) and "…" not in shown
    assert max(map(len, shown.splitlines())) == grid.least_width


def test_published_figures_stand_in_brackets(folder):
    papers = folder / "papers"
    write_table(papers / "a.py", ".771 .957  - .99", labels=(100, "all"))
    per_class = dict(labels_per_class="{labels}", modes="frozen")
    write_table(papers / "b.py", "50", ["acc"], [10], per_class, UNIT="%", SOURCE="Table 2")
    supervised = dict(protocols="supervised", budgets="{labels}")
    write_table(papers / "c.py", ".618", ["acc"], [100], supervised, "pretrain=False", SOURCE="Table 3")
    write_table(papers / "d.py", ".1", ["acc"], [100], dict(protocols="knn"), SOURCE="Table 4")
    grid = table(folder, papers)
    frozen, unfrozen, supervised = grid.rows
    assert frozen[3:] == [
        "70.00 ± 14.14 (n=2) (77.1)", "0.3500 ± 0.0707 (n=2) (0.957)", "50.00 (n=1)", "0.2500 (n=1)",
        "30.00 (n=1) (50.0)", "0.1500 (n=1)", "90.00 (n=1)", "0.4500 (n=1) (0.990)",
    ]  # fmt: skip
    assert ") (" not in "".join(unfrozen)
    assert supervised[3:5] == ["25.00 (n=1) (61.8)", "0.1250 (n=1)"]
    assert grid.notes == ["In brackets: A paper, Table 1; Table 2; Table 3", OVER]


UNLIKE = "not comparable with the published figure, because "


def path_first(**more):
    return dict(TRAINED, initial_weights=dict(datasets=[PATHOLOGY], sha256="1"), **more)


@pytest.mark.parametrize(
    ("table_of", "row_of", "found"),
    [
        ({}, {}, True),
        ({}, dict(recipe="own"), "its recipe is own, not thesis"),
        (dict(RECIPES=[]), {}, "its recipe is thesis, but the publication does not state its recipe"),
        (dict(RECIPES=["own", "thesis"]), {}, True),
        ({}, dict(network=dict(NETWORK, backbone=dict(type="ResNet", depth=34))), "another network"),
        ({}, dict(pretraining=dict(TRAINED, datasets=[PATHOLOGY])), "its pretraining data differ"),
        ({}, dict(pretraining=dict(epoch=9)), "its pretraining data are not recorded"),
        ({}, dict(pretraining=dict(TRAINED, epoch=2)), "its pretraining epochs are 2, not 9"),
        ({}, dict(pretraining=path_first()), "its pretraining started from other weights"),
        ({}, dict(data=dict(v=dict(files=[dict(official=False)]))), "its data file is not the official one"),
        ({}, dict(data=None), "its data files are not recorded"),
        ({}, dict(data=dict(train=dict(files=[dict(official=None)]))), True),
        ({}, dict(method="BYOL"), "its method is BYOL, not SimCLR"),
        (dict(cell=f"pretrain={PATH!r}"), {}, "its pretraining data differ"),
        (dict(cell=f"pretrain={PATH!r}"), dict(pretraining=dict(TRAINED, datasets=[PATHOLOGY])), True),
        (dict(cell=f"init={PATH!r}"), {}, "its pretraining started from other weights"),
        (dict(cell=f"init={PATH!r}"), dict(pretraining=path_first()), True),
        (dict(cell="pretrain='data/resnet50-0123.pth'"), {}, "its weights are not resnet50-0123"),
        (dict(cell="pretrain='data/resnet50-sha.pth'"), {}, True),
        # Figures of other configs, labels, modes and overrides are no neighbours.
        (dict(CONFIG="simclr-nat_resnet18_pathmnist"), {}, None),
        (dict(CONFIG="simclr-nov_resnet18_bloodmnist"), {}, None),
        (dict(cell="options=['model.backbone.depth=34']"), {}, None),
        (dict(cell="pretrain=False"), {}, None),
        (dict(SKIP=[dict(arm="x")]), {}, None),
        ({}, dict(budget=250), None),
        ({}, dict(mode="unfrozen"), None),
    ],
)  # fmt: skip
def test_a_bracket_needs_all_facts_to_agree_and_a_dagger_says_which_do_not(table_of, row_of, found, folder):
    columns = dict(method="SimCLR", recipe="thesis", mode="frozen", budget=100)
    columns |= {name: row_of[name] for name in columns if name in row_of}
    facts = {name: value for name, value in row_of.items() if name not in columns}
    measured = row(columns.pop("method"), "budget", 0.7, checkpoint="runs/nat", facts=facts, **columns)
    write_results(folder / "runs" / "results.json", [measured])
    grid = table(folder, write_table(folder / "papers" / "table.py", **table_of))
    assert grid.rows[0][3] == {True: "70.00 (n=1) (77.1)", None: "70.00 (n=1)"}.get(found, "70.00 (n=1) †")
    daggers = [note for note in grid.notes if note.startswith("†")]
    place = f"{measured.method} on bloodmnist, frozen, {measured.recipe}".removesuffix(", own")
    expected = f"† {UNLIKE}{found}: {place}, 100 (A paper, Table 1)."
    assert daggers == ([expected] if isinstance(found, str) else [])


def test_a_published_figure_is_compared_with_its_own_epoch(folder):
    (row,) = (row for row in read_results(folder / "runs" / "results.json") if row.protocol == "supervised")
    row.best = dict(row.best, acc=0.75)
    write_results(folder / "runs" / "results.json", [row])
    settings = dict(protocols="supervised", budgets="{labels}")
    path = write_table(
        folder / "papers" / "c.py", ".618", ["acc"], [100], settings, "pretrain=False", WHICH="best"
    )
    for which, cell in dict(last="25.00 (n=1) †", best="75.00 (n=1) (61.8)").items():
        (grid,), _ = report(
            [folder / "runs"], out_dir=folder / "out", layout="budgets", references=path, which=which
        )
        assert grid.rows[0][3] == cell
        named = "it is of the last epoch, not of the best (--which best)" in "".join(grid.notes)
        assert named == (which == "last")
    assert all(read_table(path).which == "best" for path in PAPERS.glob("thesis_table*.py"))


def test_a_network_pretrained_on_other_data_has_its_own_figures_alone(folder):
    papers = folder / "papers"
    write_table(papers / "own.py", ".1 .2  .3 .4", labels=(100, 1000))
    write_table(papers / "path.py", cell=f"pretrain={PATH!r}")
    for cells in (table(folder, papers).rows[0], table(folder, papers / "own.py").rows[0]):
        assert cells[3:7] == [
            "70.00 ± 14.14 (n=2) (10.0)", "0.3500 ± 0.0707 (n=2) (0.200)", "50.00 (n=1) (30.0)",
            "0.2500 (n=1) (0.400)",
        ]  # fmt: skip
    (frozen, *_) = table(folder, papers / "path.py").rows
    assert frozen[3:6] == ["70.00 ± 14.14 (n=2) †", "0.3500 ± 0.0707 (n=2) †", "50.00 (n=1)"]


def test_two_figures_that_differ_in_the_recipe_stand_in_columns_of_their_own(folder):
    measured = [
        row("SimCLR", "budget", acc, mode="frozen", budget=100, checkpoint="runs/nat", recipe=recipe)
        for recipe, acc in (("own", 0.8), ("thesis", 0.7))
    ]
    write_results(folder / "runs" / "results.json", measured)
    grid = table(folder, write_table(folder / "papers" / "table.py"))
    assert [cells[2:4] for cells in grid.rows] == [
        ["frozen", "80.00 (n=1) †"], ["frozen, thesis", "70.00 (n=1) (77.1)"]
    ]  # fmt: skip


def test_what_was_measured_unlike_has_rows_of_its_own(folder):
    other = row("SimCLR", "budget", 0.1, mode="frozen", budget=100, checkpoint="runs/nat", settings={"k": 1})
    write_results(folder / "runs" / "unlike" / "results.json", [other])
    grid = table(folder)
    rows = [cells[1:4] for cells in grid.rows if cells[3].startswith("10.00")]
    assert rows == [["SimCLR [B]", "frozen, thesis", "10.00 (n=1)"]]
    assert grid.notes[1:] == [OVER] and "100 labels" in grid.notes[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (dict(metric=["map"], published="1"), "metric 'map' is unknown"),
        (dict(published="much .957"), "could not convert"),
        (dict(published=".771"), "PUBLISHED must have 1 lines of 2 figures"),
        (dict(ROWS=["row"]), r"must name each of \['arm', 'labels', 'metric'\] once"),
        (dict(CONFIG="{colour}"), "'colour' is missing"),
    ],
)
def test_a_bad_table_is_one_sentence(changes, words, folder):
    with pytest.raises(UserError, match=words):
        table(folder, write_table(folder / "papers" / "table.py", **changes))


def test_options_are_checked(folder):
    with pytest.raises(UserError, match="layout='wide': allowed are long, budgets"):
        report([folder], layout="wide")
    with pytest.raises(UserError, match="is for --layout budgets"):
        report([folder], references=write_table(folder / "papers" / "table.py"))
    with pytest.raises(UserError, match=r"none\.py' does not exist"):
        report([folder], layout="budgets", references=folder / "none.py")
    (folder / "paper.yml").touch()
    with pytest.raises(UserError, match=r"paper\.yml' is not a Python file of published figures"):
        report([folder], layout="budgets", references=folder / "paper.yml")

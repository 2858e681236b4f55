"""Report of several results: comparable rows are joined, differences are stated."""

import base64
import csv
import importlib
import json
import re
import statistics
import sys
from html.parser import HTMLParser

import pytest
from browser import needs_chromium, overflows

from ssl_ext.apis.report import Grid, report
from ssl_ext.errors import UserError, run_tool
from ssl_ext.evaluation import ResultRow, write_results

DOT = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def row(method, protocol, acc, *, checkpoint=None, k=20, config="cfg/a.py", data=None, **more):
    last = {"acc": acc, "auc": 0.5, "confusion": [[3, 1], [0, 4]]}
    source = {
        "checkpoint": checkpoint and {"path": f"{checkpoint}/epoch_2.pth", "sha256": f"sha-{checkpoint}"},
        "config": config,
        "dataset": data or {"type": "Digits", "image_size": 8},
        "versions": {"torch": "2"},
    }
    fields = dict(settings={"k": k, "val_split": "val"}, sizes={"train": 9, "test": 8}, seed=0, source=source)
    return ResultRow(method, protocol, last, {**last, "acc": acc + 0.1}, **{**fields, **more})


def write(folder, *rows):
    write_results(folder / "evaluation" / "results.json", rows)
    return folder


def records(out):
    with open(out / "results.csv", newline="") as file:
        return list(csv.DictReader(file))


class Page(HTMLParser):
    """Collect the elements of a page, the text of its table cells and its URLs."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.cells, self.addresses, self.images = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append(tag)
        self.addresses += [attrs[name] for name in ("src", "href", "action", "srcset") if name in attrs]
        if tag == "img":
            self.images.append(attrs)

    def handle_data(self, text):
        if self.tags and self.tags[-1] in ("td", "th", "button") and text.strip():
            self.cells.append(text.strip())


@pytest.fixture
def runs(tmp_path):
    """Two runs of an algorithm, each with its own baselines."""
    for name, acc in (("one", 0.5), ("two", 0.7)):
        folder = tmp_path / "runs" / name
        rows = [
            row("SimCLR", "knn", acc, checkpoint=folder, config="cfg/simclr.py"),
            *(
                row("SimCLR", "linear", acc + 0.01 * i, checkpoint=folder, labels_per_class=5, draw=i)
                for i in (0, 1)
            ),
            row("pixels", "knn", 0.25, config=f"cfg/{name}.py"),
            row("supervised", "supervised", acc / 2, config=f"cfg/{name}.py", labels_per_class=5, draw=0),
        ]  # fmt: skip
        write(folder, *rows)
    return tmp_path / "runs"


def test_files_are_joined_and_methods_told_apart(runs, tmp_path):
    (table,), written = report([runs], out_dir=tmp_path / "out")
    assert {path.name for path in written} == {
        "results.csv", "classes.csv", "results.md", "results.tex", "report.html"
    }  # fmt: skip
    assert table.header == ["protocol", "method", "acc. %", "AUC", "n", "s"]
    assert [row[:3] for row in table.rows] == [
        ["kNN", "SimCLR (one)", "50.00"],
        ["kNN", "pixels", "25.00"],
        ["kNN", "SimCLR (two)", "70.00"],
        ["linear, 5 labels/class", "SimCLR (one)", "50.50 ± 0.71"],
        ["linear, 5 labels/class", "SimCLR (two)", "70.50 ± 0.71"],
        ["supervised, 5 labels/class", "supervised (one)", "25.00"],
        ["supervised, 5 labels/class", "supervised (two)", "35.00"],
    ]
    assert table.notes == ["± is the deviation over 2 label draws: linear, 5 labels/class."]
    (linear,) = (
        r for r in records(tmp_path / "out") if r["method"] == "SimCLR (two)" and r["protocol"] == "linear"
    )
    assert float(linear["acc_mean"]) == pytest.approx(0.705, abs=1e-15)
    assert float(linear["acc_std"]) == pytest.approx(statistics.stdev([0.7, 0.71]))
    assert (linear["n"], linear["labels_per_class"], linear["budget"]) == ("2", "5", "")
    assert json.loads(linear["settings"])["val_split"] == "val"


def test_a_csv_has_each_column_once_and_undefined_metrics_are_empty(tmp_path):
    rows = [row("SimCLR", "linear", 0.5, labels_per_class=5, draw=draw) for draw in (0, 1, 2)]
    for member, area in zip(rows, (float("nan"), 0.5, float("nan")), strict=True):
        member.last = {"acc": 0.5, "auc": area, "ece": 0.25}
    write(tmp_path / "a", *rows, row("SimCLR", "cluster", 0.5, k=3))
    (table, *_), _ = report([tmp_path], out_dir=tmp_path / "out")
    assert table.rows[0][2:4] == ["50.00 ± 0.00", "-"]
    header = (tmp_path / "out" / "results.csv").read_text().splitlines()[0].split(",")
    assert len(header) == len(set(header))
    parts = ("mean", "std", "low", "high")
    assert header[-13:-1] == [f"{name}_{part}" for name in ("acc", "auc", "ece") for part in parts]
    linear, cluster = records(tmp_path / "out")
    assert (linear["acc_mean"], linear["auc_mean"], linear["ece_std"]) == ("0.5", "", "0.0")
    assert (cluster["auc_mean"], cluster["ece_mean"]) == ("0.5", "")


def test_runs_of_one_config_can_be_repeats(tmp_path):
    for name, acc in (("one", 0.5), ("two", 0.7)):
        write(tmp_path / name, row("SimCLR", "knn", acc, checkpoint=tmp_path / name))
    (table,), _ = report([tmp_path], out_dir=tmp_path / "out", join_runs=True, which="best")
    assert table.rows == [["kNN", "SimCLR", "70.00 ± 14.14", "0.5000 ± 0.0000", "2", "-"]]
    assert table.notes == ["± is the deviation over 2 pretraining seeds: kNN."]


@pytest.mark.parametrize(
    ("about", "ends"),
    [
        (dict(network={"backbone": {"depth": 50}, "neck": None}), ["backbone.depth=18", "backbone.depth=50"]),
        (
            dict(pretraining={"datasets": [{"type": "PathMNIST", "data_root": "/data/x"}]}),
            [
                'pretraining.datasets=[{"data_root": "x", "type": "BloodMNIST"}]',
                'pretraining.datasets=[{"data_root": "x", "type": "PathMNIST"}]',
            ],
        ),
    ],
)
def test_other_networks_and_pretraining_data_are_never_repeats(about, ends, tmp_path):
    """Runs of one config file with overrides: another depth, or pretrained on another set."""
    usual = dict(
        network={"backbone": {"depth": 18}, "neck": None},
        pretraining={"datasets": [{"type": "BloodMNIST", "data_root": "/other/x"}], "seed": 0},
    )
    for name, acc, change in (("one", 0.7, {}), ("two", 0.6, about)):
        one = row("SimCLR", "knn", acc, checkpoint=tmp_path / name)
        one.source.update({**usual, **change})
        write(tmp_path / name, one)
    (table,), _ = report([tmp_path], out_dir=tmp_path / "out", join_runs=True)
    assert [cells[1:3] for cells in table.rows] == [
        [f"SimCLR ({ends[0]})", "70.00"],
        [f"SimCLR ({ends[1]})", "60.00"],
    ]


def test_one_seed_measured_twice_is_no_repeat_nor_is_a_data_file_of_other_content(tmp_path):
    """Two checkpoints of one pretraining seed, and a second result of one checkpoint, stay apart."""
    first, again, other = (row("SimCLR", "knn", acc, checkpoint="one") for acc in (0.5, 0.7, 0.9))
    other.source["data"] = {"test": {"fingerprint": "abc", "files": []}}
    write(tmp_path / "one", first, row("SimCLR", "knn", 0.5, checkpoint="one"))
    write(tmp_path / "two", again)
    write(tmp_path / "three", other)
    (table,), _ = report([tmp_path], out_dir=tmp_path / "out", join_runs=True)
    assert sorted(cells[2] for cells in table.rows) == ["50.00", "70.00", "90.00"]
    assert "± " not in " ".join(table.notes)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (dict(k=200), ["k = 20;", "k = 200"]),
        (dict(sizes={"train": 9, "test": 80}), ["test images = 8;", "test images = 80"]),
        (dict(settings={"k": 20, "val_split": "val", "layer": 4}), ["layer = not recorded;", "layer = 4"]),
        (dict(data={"type": "Digits", "image_size": 16}), ["data image_size = 8;", "data image_size = 16"]),
    ],
)
def test_what_was_measured_unlike_is_kept_apart_and_said(change, words, tmp_path):
    write(tmp_path / "one", row("SimCLR", "knn", 0.5, checkpoint="one"), row("pixels", "knn", 0.25))
    write(tmp_path / "two", row("BYOL", "knn", 0.75, checkpoint="two", **change))
    (table,), _ = report([tmp_path], out_dir=tmp_path / "out")
    assert [row[:2] for row in table.rows] == [
        ["kNN [A]", "SimCLR"],
        ["kNN [A]", "pixels"],
        ["kNN [B]", "BYOL"],
    ]
    (note,) = table.notes
    assert note.startswith("Digits, kNN was measured with 2 different settings that cannot be compared: [A] ")
    assert all(word in note for word in words)
    page = (tmp_path / "out" / "report.html").read_text()
    assert note in page
    assert 'best">75.00' not in page


def test_what_is_chosen_on_validation_or_drawn_is_no_other_setting(tmp_path):
    def linear(method, l2, candidates, seed):
        chosen = {"l2": l2, "validation_accuracy": dict.fromkeys(map(str, candidates), 0.5)}
        drawn = {"drawn": True, "seed": seed, "rows": f"draw {seed}"}
        settings = {"l2": l2, "seed": seed, "chosen_on_validation": chosen, "labels": drawn}
        return row(method, "linear", 0.5, settings=settings, seed=seed, checkpoint=method)

    write(
        tmp_path,
        linear("a", 0.1, [0.1, 1.0], 0),
        linear("a", 1.0, [0.1, 1.0], 1),
        linear("b", 1.0, [0.1, 1.0], 0),
    )
    (table,), _ = report([tmp_path], out_dir=tmp_path / "out")
    assert [(row[1], row[4]) for row in table.rows] == [("a", "2"), ("b", "1")]
    write(tmp_path, linear("a", 0.1, [0.1, 1.0], 0), linear("b", 0.1, [0.1], 0))
    (table,), _ = report([tmp_path], out_dir=tmp_path / "out")
    assert table.notes == [
        "Digits, linear, all labels was measured with 2 different settings that cannot be compared: "
        "[A] l2 = chosen from 0.1, 1.0; [B] l2 = 0.1"
    ]


def test_data_sets_and_targets_do_not_mix(tmp_path):
    mnist = [{"type": "MedMNIST", "name": name, "data_root": "d"} for name in ("bloodmnist", "retinamnist")]
    mine = {"type": "NPZDataset", "data_root": "data/mine.npz"}
    write(
        tmp_path,
        *(row("a", "knn", 0.1 * i, data=data) for i, data in enumerate([*mnist, mine])),
        row("a", "transfer", 0.4, mode="frozen", target="PathMNIST"),
        row("a", "cluster", 0.5, settings={}),
    )
    (table,), _ = report([tmp_path], out_dir=tmp_path / "out")
    assert [row[:2] for row in table.rows] == [
        ["bloodmnist", "kNN"], ["retinamnist", "kNN"], ["mine", "kNN"],
        ["PathMNIST", "transfer to PathMNIST, frozen"], ["Digits", "cluster"],
    ]  # fmt: skip


def test_the_page_needs_no_network_and_escapes_what_it_shows(runs, tmp_path):
    write(tmp_path / "runs" / "odd", row("<script>alert(1)</script>", "knn", 0.5, checkpoint="x"))
    (runs / "one" / "figures").mkdir()
    (runs / "one" / "figures" / "views.png").write_bytes(DOT)
    log = runs / "one" / "20260101_000000" / "vis_data"
    log.mkdir(parents=True)
    lines = [{"loss": 3.0 / i, "loss_a": 1.0, "lr": 0.1, "step": i} for i in range(1, 5)]
    (log / "scalars.json").write_text("\n".join(map(json.dumps, [*lines, {"knn_top1": 0.5, "step": 5}])))
    report([runs], out_dir=tmp_path / "out")
    text = (tmp_path / "out" / "report.html").read_text()
    page = Page(text)
    assert page.tags.count("script") == 1
    assert "<script>alert(1)</script>" in page.cells
    assert all(address.startswith(("#", "data:")) for address in page.addresses)
    assert not re.search(r"https?:|@import|url\(|fetch\(|XMLHttp", text)
    assert [image["src"][:14] for image in page.images] == ["data:image/png"] * 3
    assert all(image["alt"] for image in page.images)
    assert base64.b64decode(page.images[2]["src"].split(",")[1]) == DOT
    assert [image["alt"].split(" over")[0] for image in page.images[:2]] == [
        "Line charts of loss, loss_a",
        "Line charts of knn_top1",
    ]
    assert page.tags.count("caption") == page.tags.count("table")


def test_no_figure_is_shown_twice(runs, tmp_path):
    """Equal files of two runs, curves that the page draws itself, and an SVG beside its PNG."""
    other = DOT + b"other"
    for run, names in (
        ("one", ("views.png", "views.svg", "curves.png", "scores.png")),
        ("two", ("views.png",)),
    ):
        log = runs / run / "20260101_000000" / "vis_data" / "scalars.json"
        log.parent.mkdir(parents=True)
        log.write_text("\n".join(json.dumps({"loss": 1.0, "step": i}) for i in range(4)))
        (runs / run / "figures").mkdir()
        for name in names:
            content = {"scores.png": other, "views.svg": b"<svg/>", "curves.png": b"curves"}.get(name, DOT)
            (runs / run / "figures" / name).write_bytes(content)
    report([runs], out_dir=tmp_path / "out")
    sources = [image["src"] for image in Page((tmp_path / "out" / "report.html").read_text()).images]
    drawn, *found = [base64.b64decode(source.split(",")[1]) for source in sources]
    assert sorted(found) == sorted([DOT, other]) and drawn.startswith(b"\x89PNG")


def test_supervised_training_has_a_column_of_its_own(runs, tmp_path):
    report([runs], out_dir=tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    (overview,) = re.findall(r'<table class="sortable overview.*?</table>', page, re.S)
    cells = Page(overview).cells
    assert cells[:4] == ["method", "kNN", "linear, 5 labels/class", "supervised, 5 labels/class"]
    place = cells.index("supervised (one)")
    assert cells[place + 1 : place + 4] == ["-", "-", "25.00"]


def test_settings_are_words(tmp_path):
    settings = {
        "val_split": "val",
        "standardize": True,
        "milestones": [],
        "crop": {"scale": 0.5, "flip": None},
    }
    write(tmp_path, row("SimCLR", "knn", 0.5, settings=settings))
    report([tmp_path], out_dir=tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    assert dict(re.findall("<dt>(.*?)</dt><dd>(.*?)</dd>", page)).items() >= {
        "val split": "val", "standardize": "yes", "milestones": "none", "crop": "flip: none, scale: 0.5"
    }.items()  # fmt: skip


@needs_chromium
@pytest.mark.parametrize("width", [1100, 390])
def test_the_page_fits_wide_and_narrow_screens(width, runs, tmp_path):
    """Nothing is wider than the window, and tables show all their scores without scrolling."""
    rows = [row("A method of a long name", "linear", 0.5, labels_per_class=5, draw=i) for i in (0, 1)]
    for one in rows:
        one.last |= dict.fromkeys(("balanced_acc", "kappa", "f1", "ece", "auprc", "top5"), 0.5)
    write(runs / "three", *rows)
    report([runs], out_dir=tmp_path / "out")
    assert overflows(tmp_path / "out" / "report.html", width) == {0}


def test_confusion_matrices_are_summed_over_repeats(tmp_path):
    write(tmp_path, *(row("a", "linear", 0.5, labels_per_class=5, draw=i) for i in range(3)))
    report([tmp_path], out_dir=tmp_path / "out")
    cells = Page((tmp_path / "out" / "report.html").read_text()).cells
    place = cells.index("true \\ predicted")
    assert cells[place + 1 : place + 9] == ["0", "1", "0", "9", "3", "1", "0", "12"]
    many = row("a", "knn", 0.5)
    many.last["confusion"] = [[int(i == j) for j in range(21)] for i in range(21)]
    write(tmp_path, many)
    report([tmp_path], out_dir=tmp_path / "out")
    (image,) = Page((tmp_path / "out" / "report.html").read_text()).images
    assert image["alt"] == "Confusion matrix of a, Digits, kNN"


def test_text_formats_escape_their_own_signs():
    grid = Grid("50% & more", ["a|b", "n_1"], [["x|y_z", "1 ± 2"], ["[B] {c}", "-"]], 1, ["k = 5"])
    assert grid.markdown().splitlines() == [
        "**50% & more**", "", r"| a\|b | n_1 |", "| --- | ---: |", r"| x\|y_z | 1 ± 2 |",
        r"| \[B\] {c} | - |", "", "- k = 5",
    ]  # fmt: skip
    lines = grid.latex("results").splitlines()
    assert lines[0] == r"% \usepackage{booktabs}" and r"\label{tab:results}" in lines and r"\toprule" in lines
    assert r"\caption{50\% \& more. k = 5.}" in lines
    assert r"\begin{tabular}{lr}" in lines
    assert r"x\textbar{}y\_z & 1 $\pm$ 2 \\" in lines
    assert r"{[}B] \{c\} & - \\" in lines


def test_clusterings_have_a_table_of_their_own(tmp_path):
    clusters = row("a", "cluster", 0.5)
    clusters.last = {"nmi": 0.25, "silhouette_pca2": float("nan")}
    write(tmp_path, row("a", "knn", 0.5), clusters)
    (first, second), _ = report([tmp_path], out_dir=tmp_path / "out")
    assert [row[:2] for row in first.rows] == [["kNN", "a"]]
    page = (tmp_path / "out" / "report.html").read_text()
    assert re.findall("<caption>(.* on .*)</caption>", page) == [
        "Classification on Digits",
        "Clustering on Digits",
    ]
    assert second.header == ["protocol", "method", "silh. PCA-2", "NMI", "n", "s"]
    assert second.rows == [["cluster", "a", "-", "0.250", "1", "-"]]
    assert Page(page).cells.count("0.250") == 1
    (record,) = (r for r in records(tmp_path / "out") if r["protocol"] == "cluster")
    assert (record["nmi_mean"], record["silhouette_pca2_mean"], record["acc_mean"]) == ("0.25", "", "")


def seeded(method, seed, acc, **more):
    """A row of a checkpoint that was pretrained with a seed."""
    one = row(method, "knn", acc, checkpoint=f"{method}-{seed}", config=f"cfg/{method}.py", **more)
    one.source["pretraining"] = {"seed": seed}
    return one


NOISE = (0.01, -0.02, 0.0, 0.02, -0.01)


@pytest.mark.parametrize(
    ("seeds", "second", "bold"),
    [
        (5, 0.5, ["60.00"]),
        (4, 0.5, []),  # too few seeds for a test
        (5, 0.595, []),  # the difference may be chance
    ],
)
def test_bold_needs_a_difference_over_five_pretraining_seeds(seeds, second, bold, tmp_path):
    rows = [seeded("a", seed, 0.6 + NOISE[seed]) for seed in range(seeds)]
    rows += [seeded("b", seed, second + NOISE[-1 - seed]) for seed in range(seeds)]
    write(tmp_path, *rows, row("pixels", "knn", 0.3))
    report([tmp_path], out_dir=tmp_path / "out", join_runs=True, metrics=["acc"])
    page = (tmp_path / "out" / "report.html").read_text()
    assert re.findall(r'best">([\d.]+)', page) == bold
    latex = (tmp_path / "out" / "results.tex").read_text()
    assert re.findall(r"textbf\{([\d.]+) ", latex) == bold and ("Bold: better" in latex) is bool(bold)
    write(tmp_path, *rows, row("pixels", "knn", 0.9))  # better than the methods
    report([tmp_path], out_dir=tmp_path / "out", join_runs=True, metrics=["acc"])
    assert 'best">' not in (tmp_path / "out" / "report.html").read_text()


def test_of_errors_the_smallest_is_bold(tmp_path):
    rows = [seeded("ab"[i], s, 0.6 - 0.1 * i + NOISE[(s + i) % 5]) for i in range(2) for s in range(5)]
    for one in rows:
        one.last["ece"] = 1 - one.last["acc"]
    write(tmp_path, *rows)
    report([tmp_path], out_dir=tmp_path / "out", join_runs=True, metrics=["ece"])
    (found,) = re.findall(r'best">([\d.]+)', (tmp_path / "out" / "report.html").read_text())
    assert float(found) in (0.4, 40.0)


def test_all_pairs_of_methods_are_corrected_together(tmp_path):
    """A difference that passes alone may not pass among ten methods."""
    shift = [0.02, 0.05, 0.03, 0.04, 0.06]  # p = 0.005
    pair = [seeded("a", s, 0.5 + shift[s]) for s in range(5)] + [seeded("b", s, 0.5) for s in range(5)]
    others = [seeded(f"c{i}", s, 0.4 + 0.01 * i + NOISE[(s + i) % 5]) for i in range(6) for s in range(5)]
    for rows, bold in ((pair, True), ([*pair, *others], False)):
        write(tmp_path, *rows)
        report([tmp_path], out_dir=tmp_path / "out", join_runs=True, metrics=["acc"])
        assert ('best">' in (tmp_path / "out" / "report.html").read_text()) is bold


def test_unequal_classes_show_the_most_frequent_one_and_balanced_accuracy(tmp_path):
    one = row("a", "knn", 0.7)
    one.last["balanced_acc"] = 0.4
    one.source["majority"] = {"acc": 0.669, "balanced_acc": 1 / 7, "auc": 0.5}
    one.intervals = {"over": "groups", "units": 9, "last": {"acc": [0.6, 0.8], "auc": [0.4, 0.61]}}
    write(tmp_path, one)
    (table,), _ = report([tmp_path], out_dir=tmp_path / "out")
    assert table.header[2:5] == ["acc. %", "bal. acc. %", "AUC"]
    assert table.rows == [
        ["kNN", "a", "70.00 [60.0,80.0]", "40.00", "0.5000 [0.400,0.610]", "1", "-"],
        ["-", "most frequent class", "66.90", "14.29", "0.5000", "-", "-"],
    ]
    assert table.notes == ["[a,b] is the 95 % bootstrap interval of one measurement over the test groups."]
    (record,) = records(tmp_path / "out")
    assert (record["acc_low"], record["acc_high"], record["balanced_acc_low"]) == ("0.6", "0.8", "")
    cells = Page((tmp_path / "out" / "report.html").read_text()).cells
    assert {"66.90", "most frequent class", "70.00"} <= set(cells)
    assert "<small>[60.0,80.0]</small>" in (tmp_path / "out" / "report.html").read_text()


def test_metrics_are_chosen_by_name(runs, tmp_path):
    (table,), _ = report([runs], out_dir=tmp_path / "out", metrics=["auc"])
    assert table.header == ["protocol", "method", "AUC", "n", "s"]
    with pytest.raises(UserError, match="--metric map: no result has it; there are acc, auc"):
        report([runs], out_dir=tmp_path / "other", metrics=["map"])
    assert not (tmp_path / "other").exists()


def test_bad_input_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="nowhere' does not exist"):
        report([tmp_path / "nowhere"])
    with pytest.raises(UserError, match=r"No results under .*tools/evaluate\.py"):
        report([tmp_path])
    (tmp_path / "results.json").write_text("[{")
    with pytest.raises(UserError, match=r"not a results\.json"):
        report([tmp_path])
    with pytest.raises(UserError, match=r"smoothing=1"):
        report([tmp_path], smoothing=1)
    with pytest.raises(UserError, match="specificity=1"):
        report([tmp_path], specificity=1)
    with pytest.raises(UserError, match="which='first'"):
        report([tmp_path], which="first")


def test_the_tool(runs, tmp_path, monkeypatch, capsys):
    tool = importlib.import_module("ssl_ext.cli.report")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["report.py", str(runs), "--metric", "acc"])
    tool.main()
    assert "SimCLR (two)" in capsys.readouterr().out
    assert (tmp_path / "report" / "report.html").is_file()
    monkeypatch.setattr(sys, "argv", ["report.py", str(tmp_path / "none")])
    with pytest.raises(SystemExit) as ended:
        run_tool(tool.main)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("error: ")

"""The page of one classifier: metrics against scikit-learn, columns of a CSV file, images and text."""

import html
import json
import re

import numpy as np
import pytest
import torch
from browser import needs_chromium, overflows
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, confusion_matrix, roc_auc_score

from ssl_ext.apis.clinical import clinical_report
from ssl_ext.apis.clinical.columns import read_columns
from ssl_ext.apis.clinical.run import _calibrated, _figures
from ssl_ext.apis.clinical.scores import most_confident, overall_scores
from ssl_ext.apis.figures.predictions import panel_data
from ssl_ext.cli.report import main
from ssl_ext.datasets import NPZDataset
from ssl_ext.errors import UserError, run_tool
from ssl_ext.evaluation import Predictions, ResultRow, Scored, dataset_fingerprint, write_results
from ssl_ext.evaluation.calibration import validation_temperature
from ssl_ext.evaluation.operating import class_figures

COUNT = 90
HOSTILE = '<script>alert("x")</script>'


class Files(list):
    """Paths of images, as a data set of files has them."""

    def name(self, row):
        return self[row]


class Split:
    """Labels and patients of three images each."""

    labels = np.arange(COUNT) % 3
    groups = np.array([f"p{image // 3}" for image in range(COUNT)])


def scored(seed, classes=3):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(COUNT) % classes
    logits = 3 * (torch.randn(COUNT, classes, generator=generator) + torch.eye(classes)[labels])
    scores = logits.softmax(dim=1)
    return Scored(scores, scores, labels)


def made(classes=3, groups=False):
    task = "binary" if classes == 2 else "multi-class"
    found = Predictions.of(scored(0, classes), scored(1, classes), task=task, num_classes=classes)
    return found.placed(Split) if groups else found


@pytest.fixture
def evaluation(tmp_path):
    """A result file with the predictions of an array data set."""
    noise = np.random.default_rng(0).integers(0, 255, (COUNT, 8, 8, 3), dtype=np.uint8)
    labels = np.arange(COUNT) % 3
    arrays = {
        f"{kind}_{split}": own for split in ("train", "test") for kind, own in (("x", noise), ("y", labels))
    }
    np.savez(tmp_path / "set.npz", **arrays)
    settings = dict(type="NPZDataset", data_root=str(tmp_path / "set.npz"))
    test = NPZDataset(data_root=settings["data_root"], split="test")
    folder = tmp_path / "run" / "evaluation"
    (folder / "predictions").mkdir(parents=True)
    predictions = made(groups=True)
    (folder / "predictions" / "a.npz").write_bytes(predictions.content())
    metrics = {"acc": 0.5, "confusion": confusion_matrix(labels, predictions.test["last"].predicted).tolist()}
    source = {
        "dataset": settings, "classes": ["one", "<b>two</b>", "three $x^$"], "config": "a.py",
        "data": {"test": {"fingerprint": dataset_fingerprint(test)[:16]}},
        "majority": {"acc": 1 / 3, "balanced_acc": 1 / 3, "auc": 0.5},
    }  # fmt: skip
    about = dict(settings={"val_split": "val"}, sizes={}, seed=0, source=source)
    rows = [ResultRow("SimCLR", "knn", metrics, metrics, predictions="predictions/a.npz", **about)]
    write_results(folder / "results.json", [*rows, ResultRow("SimCLR", "cluster", {}, {}, **about)])
    return tmp_path


def metadata(folder, **columns):
    names = ["row", *columns]
    lines = [",".join(map(str, values)) for values in zip(range(COUNT), *columns.values(), strict=True)]
    (folder / "about.csv").write_text("\n".join([",".join(names), *lines]))
    return folder / "about.csv"


@pytest.mark.parametrize("classes", [2, 3])
def test_class_figures_equal_scikit_learn_with_wilson_intervals_without_groups(classes):
    predictions = made(classes)
    labels, predicted = predictions.labels, predictions.test["last"].predicted
    for own, figures in class_figures(predictions, "last", specificity=0.9).items():
        (tn, fp), (fn, tp) = confusion_matrix(labels == own, predicted == own)
        pairs = {
            "sensitivity": (tp, tp + fn), "specificity": (tn, tn + fp), "ppv": (tp, tp + fp),
            "npv": (tn, tn + fn),
        }  # fmt: skip
        for name, (part, whole) in pairs.items():
            assert figures[name].value == pytest.approx(part / whole, abs=1e-9)
            wilson = binomtest(int(part), int(whole)).proportion_ci(method="wilson")
            assert figures[name].ends == pytest.approx((wilson.low, wilson.high), abs=1e-9)
        column = predictions.test["last"].values[:, 0 if classes == 2 else own]
        assert figures["auc"].value == pytest.approx(roc_auc_score(labels == own, column), abs=1e-9)
    assert overall_scores(predictions, "last")["acc"].value == pytest.approx(
        accuracy_score(labels, predicted)
    )


def test_intervals_are_over_groups_where_there_are_groups():
    """With images that are all three times the same, the interval must not shrink by sqrt(3)."""
    one = made(groups=True)
    copies = np.repeat(np.arange(30), 3)
    copied = one.select(copies)
    copied = Predictions(**{**vars(copied), "groups": np.array([f"p{image}" for image in copies])})
    alone = Predictions(**{**vars(copied), "groups": None})

    def width(predictions):
        low, high = class_figures(predictions, "last", specificity=0.9)[0]["npv"].ends
        return high - low

    assert width(copied) > 1.4 * width(alone)
    low, high = overall_scores(copied, "last")["acc"].ends
    assert high - low > 1.4 * np.ptp(overall_scores(alone, "last")["acc"].ends)


@pytest.mark.parametrize("classes", [2, 3])
def test_shares_of_0_and_1_have_exact_intervals_over_the_patients_they_are_of(classes):
    labels = torch.arange(COUNT) % classes
    right = Scored(*[torch.eye(classes)[labels]] * 2, labels)
    wrong = Scored(*[torch.eye(classes)[(labels + 1) % classes]] * 2, labels)
    task = "binary" if classes == 2 else "multi-class"
    for given in (right, wrong):
        predictions = Predictions.of(given, right, task=task, num_classes=classes).placed(Split)
        for own, figures in class_figures(predictions, "last", specificity=0.9).items():
            predicted = predictions.test["last"].predicted
            masks = {
                "sensitivity": predictions.labels == own, "specificity": predictions.labels != own,
                "ppv": predicted == own, "npv": predicted != own,
            }  # fmt: skip
            for name in {name for name in masks if figures[name].value in (0, 1)}:
                number = len(set(predictions.groups[masks[name]]))
                exact = binomtest(int(figures[name].value) * number, number).proportion_ci()
                assert figures[name].ends == pytest.approx((exact.low, exact.high)), name
            assert figures["sensitivity"].value == (given is right)


def test_the_temperature_is_fitted_on_validation_and_missing_validation_is_said(evaluation):
    predictions = made()
    drawn = panel_data(ResultRow("SimCLR", "knn", {}, {}, {}, {}, 0), predictions, "last")
    temperature, sentence = validation_temperature(predictions, "last")
    assert temperature > 1.05  # the made-up scores are overconfident
    pictures = [
        _figures(_calibrated(predictions, value, drawn), drawn)[2].uri for value in (temperature, 1.0, None)
    ]
    assert pictures[0] != pictures[1] == pictures[2]
    page = clinical_report([evaluation], out_dir=evaluation / "out").read_text()
    assert html.escape(sentence) in page
    empty = predictions.val["last"].select(np.arange(0))
    without = Predictions(**{
        **vars(predictions), "val_labels": predictions.val_labels[:0], "val": {"last": empty, "best": empty}
    })  # fmt: skip
    path = evaluation / "run" / "evaluation" / "predictions" / "a.npz"
    path.write_bytes(without.content())
    page = clinical_report([evaluation], out_dir=evaluation / "out").read_text()
    assert "No temperature: the scores of all classes on validation images are not stored." in page


def test_columns_are_cut_into_bands_and_images_without_a_line_are_named(tmp_path):
    ages = [str(image) if image else "" for image in range(COUNT)]
    path = metadata(tmp_path, site=["a", "b"] * 45, age=ages)
    path.write_text("\n".join(path.read_text().splitlines()[:-1]))
    found = read_columns(path, ["site", "age", "age=40,60"], np.arange(COUNT), None)
    assert {name: mask.sum() for name, mask in found["site"].items()} == {"a": 45, "b": 44, "not stated": 1}
    assert {name: mask.sum() for name, mask in found["age=40,60"].items()} == {
        "below 40": 39, "40 to below 60": 20, "60 and above": 29, "not stated": 2
    }  # fmt: skip
    assert [mask.sum() for mask in found["age"].values()] == [22, 22, 22, 22, 2]
    assert list(found["age"])[0] == "below 22.75"


def test_the_page_counts_patients_escapes_text_and_shows_images(evaluation):
    path = metadata(evaluation, site=[HOSTILE if image < 30 else "b" for image in range(COUNT)])
    out = clinical_report([evaluation], out_dir=evaluation / "out", by=["site"], metadata=path)
    page = out.read_text()
    assert HOSTILE not in page and "<b>two" not in page and page.count("<script>") == 1
    escaped = re.escape(html.escape(HOSTILE, quote=True).replace("&quot;", "&#34;"))
    (row,) = re.findall(
        rf'<tr><th scope="row" class="whole">{escaped}</th>(.*?)</tr>', page.split('id="columns"')[-1]
    )
    cells = re.findall(r'class="number">([^< ]*)', row)
    predictions = made(groups=True)
    right = (predictions.labels == predictions.test["last"].predicted)[:30]
    assert cells[:3] == ["30", "10", f"{100 * right.mean():.1f}"]
    assert "30 patients or groups" in page and "always the most frequent training class" in page
    shown = re.findall(r'<img src="(data:image/png[^"]*)" alt="row (\d+):', page)
    drawn = panel_data(ResultRow("a", "knn", {}, {}, {}, {}, 0), predictions, "last")
    calibrated = _calibrated(predictions, validation_temperature(predictions, "last")[0], drawn)
    best = most_confident(calibrated, drawn["right"], 12)
    assert [int(row) for _, row in shown] == [place for own in best.values() for place, _ in own]
    sure = [f"{100 * value:.1f} %" for own in best.values() for _, value in own]
    assert re.findall(r", ([\d.]+ %)<br>", page) == sure and "confidences after the temperature" in page
    assert max(own[0][1] for own in best.values()) < drawn["confidence"].max()
    assert "http" not in re.sub(r"http-equiv", "", page)


@pytest.mark.parametrize("words", [[], ["--no-names"]])
def test_patients_in_file_names_can_be_left_out(words, evaluation, monkeypatch):
    dataset = NPZDataset(data_root=str(evaluation / "set.npz"), split="test")
    dataset.data_root = str(evaluation / "set.npz")
    dataset.files = Files(f"{evaluation}/set.npz/Doe_Jane/{row}.png" for row in range(COUNT))
    monkeypatch.setattr("ssl_ext.apis.clinical.run._evaluated", lambda row: dataset)
    main([str(evaluation), "--clinical", "--out", str(evaluation / "out"), *words])
    page = (evaluation / "out" / "clinical.html").read_text()
    assert len(re.findall(r'alt="row \d+:', page)) == (24 if words else 0)
    assert len(re.findall(r'alt="Doe_Jane/\d+.png:', page)) == (0 if words else 24)
    assert ("whose names are left out" in page) is ("Doe_Jane" not in page) is bool(words)


def test_percent_is_said_where_it_is_shown(evaluation):
    page = clinical_report([evaluation], out_dir=evaluation / "out").read_text()
    heads = [re.findall('<button type="button">([^<]+)<', table)[1:] for table in page.split("<table")[1:3]]
    assert heads[0] == ["accuracy %", "balanced accuracy %", "AUC", "AUPRC", "F1"]
    assert heads[1][3:7] == ["NPV %", "AUC", "AUPRC", "sensitivity % at 90 %"]
    metrics = made().weighted("last").metrics(np.ones((COUNT, 1), np.float32))
    cells = re.findall(r'class="number">([^< ]*)', page.split("<tbody>")[1])
    assert cells[0] == f"{100 * metrics['acc'][0]:.1f}" and cells[2] == f"{metrics['auc'][0]:.3f}"


def test_the_page_is_of_the_epoch_of_the_kept_classifier(evaluation):
    path = evaluation / "run" / "evaluation" / "results.json"
    rows = json.loads(path.read_text())
    rows[0]["saved"] = "networks/SimCLR-finetune-seed-0-best_1e7bd49759baf344.pth"
    rows[0]["best"] = dict(acc=1 / 3, confusion=[[0, 20, 0]] * 3)
    path.write_text(json.dumps(rows))

    def page(**options):
        return html.unescape(clinical_report([evaluation], out_dir=evaluation / "out", **options).read_text())

    assert "epoch that was best on validation, seed 0" in (text := page())
    assert "The kept classifier" not in text
    assert "All 60 test images are classified as '<b>two</b>' (best epoch)." in text
    text = page(which="last")
    assert "last epoch, seed 0" in text
    assert "The kept classifier is that of the best epoch, this page is of the last one." in text


def test_images_of_changed_data_are_not_shown(evaluation):
    with np.load(evaluation / "set.npz") as file:
        np.savez(evaluation / "set.npz", **{**file, "x_test": 255 - file["x_test"]})
    page = clinical_report([evaluation], out_dir=evaluation / "out").read_text()
    assert "Images are not shown. The data set is not the one of the evaluation" in page
    assert 'id="images"' not in page


def test_files_are_found_by_their_names(tmp_path):
    class Folder:
        files = Files(str(tmp_path / "images" / f"{row}.png") for row in range(3))
        data_root = str(tmp_path / "images")

    for names in (["0.png", "2.png"], ["images/0.png", "images/2.png"], [str(tmp_path / "images/0.png")]):
        (tmp_path / "a.csv").write_text("\n".join(["file;sex", *(f"{name};f" for name in names)]))
        masks = read_columns(tmp_path / "a.csv", ["sex"], np.array([0, 2]), Folder)["sex"]
        assert masks["f"].tolist() == [True, len(names) == 2]


@pytest.mark.parametrize(
    ("by", "message"),
    [
        (["sites"], "has no column 'sites'; did you mean 'site'?; there are row, site, code"),
        (["site=4,3"], "the edges are rising numbers"),
        (["site=3,4"], "bands need numbers, but it has 'a'"),
        (["code"], "90 different values, such as 'c0'; up to 30 are allowed"),
        ([], "--by COLUMN and --metadata FILE.csv are given together"),
    ],
)
def test_bad_columns_are_one_sentence(by, message, evaluation):
    path = metadata(evaluation, site=["a"] * COUNT, code=[f"c{image}" for image in range(COUNT)])
    with pytest.raises(UserError, match=re.escape(message)):
        clinical_report([evaluation], out_dir=evaluation / "out", by=by, metadata=path)


def test_bad_metadata_and_results_without_predictions_are_one_sentence(evaluation, capsys):
    path = metadata(evaluation, site=["a"] * COUNT)
    text = path.read_text()
    for changed, message in (
        (text + "\n3,b", "lists the row '3' twice"),
        ("row,site\n900,a", "no line about the 90 reported images"),
        ("site\na", "needs a column file or row"),
        ("file,site\na,b", "the images are rows of arrays"),
    ):
        path.write_text(changed)
        with pytest.raises(UserError, match=message):
            clinical_report([evaluation], out_dir=evaluation / "out", by=["site"], metadata=path)
    write_results(
        evaluation / "run" / "evaluation" / "results.json", [ResultRow("a", "knn", {}, {}, {}, {}, 0)]
    )
    with pytest.raises(SystemExit):
        run_tool(lambda: main([str(evaluation), "--clinical", "--out", str(evaluation / "out")]))
    assert "have no stored predictions: evaluate again" in capsys.readouterr().err
    for words in (["--clinical", "--layout", "budgets"], ["--by", "site"]):
        with pytest.raises(SystemExit):
            main([str(evaluation), *words])
        assert "for --clinical" in capsys.readouterr().err


@needs_chromium
@pytest.mark.parametrize("width", [1400, 390])
def test_the_page_fits_wide_and_narrow_screens(width, evaluation):
    path = metadata(
        evaluation, site=["a site of a rather long name and-a-long-word-of-forty-letters"] * COUNT
    )
    main(
        [
            str(evaluation),
            "--clinical",
            "--out",
            str(evaluation / "out"),
            "--by",
            "site",
            "--metadata",
            str(path),
        ]
    )
    assert overflows(evaluation / "out" / "clinical.html", width) == {0}

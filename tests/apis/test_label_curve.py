"""Scores over numbers of labels: resumed measurements, files, and one sentence for bad input."""

import csv
import importlib
import json

import numpy as np
import pytest

from ssl_ext.apis import label_curve
from ssl_ext.apis.evaluate.files import earlier_row
from ssl_ext.apis.evaluate.plan import Labels, Measurement
from ssl_ext.apis.evaluate.protocols import Protocols
from ssl_ext.cli.label_curve import main
from ssl_ext.errors import UserError
from ssl_ext.evaluation import ResultRow
from ssl_ext.evaluation.label_curves import Curve, Point, curves_of
from ssl_ext.evaluation.power_law import fit_power_law
from ssl_ext.visualization.label_curves import label_curves

module = importlib.import_module("ssl_ext.apis.label_curve")


def test_a_curve_is_written_and_not_measured_again(tiny_config, tmp_path, monkeypatch, capsys):
    tiny_config.evaluation.linear = dict(solver="sgd", epochs=2, lr=0.1)
    tiny_config.dump(tmp_path / "tiny.py")
    measured, measure = [], Protocols.measure
    monkeypatch.setattr(Protocols, "measure", lambda self, one: measured.append(one) or measure(self, one))
    words = [str(tmp_path / "tiny.py"), "--budgets", "20", "40", "80", "--draws", "2", "--no-supervised"]
    words += ["--device", "cpu", "--out", str(tmp_path / "out")]
    main(words)
    assert len(measured) == 6
    first = capsys.readouterr().out
    assert "untrained, frozen: 160 labels would bring acc. " in first and first.count("extrapolation") == 1
    content = json.loads((tmp_path / "out" / "label_curve.json").read_text())
    main([*words, "--metric", "auc"])
    said = []
    monkeypatch.setattr(module, "print_log", lambda message, **_: said.append(message))
    main([*words, "--budgets", "20", "40", "80", "2000", "5000", "all"])
    assert len(measured) == 7  # all labels alone, and once
    assert "--budgets 2000 5000 all: evaluation_dataset has 1078 labels to train on" in said[0]
    (curve,) = content["curves"]
    assert {point["selection_labels"] for point in curve["points"]} == {360}
    assert [point["n"] for point in curve["points"]] == [20, 40, 80]
    low, high = curve["extrapolated"]["ends"]
    assert low <= curve["extrapolated"]["mean"] <= high
    with open(tmp_path / "out" / "label_curve.csv") as file:
        lines = list(csv.DictReader(file))
    assert [line["kind"] for line in lines] == ["measured"] * 4 + ["extrapolated"]
    assert [(line["labels"], line["draws"]) for line in lines[2:4]] == [("80", "2"), ("1078", "1")]
    assert [line["selection_labels"] for line in lines] == ["360"] * 4 + [""]
    assert (tmp_path / "out" / "label_curve.png").exists()


def rows_of(scores, metric="acc", **settings):
    """Rows of draws of numbers of labels; None for all labels."""
    return [
        ResultRow(
            "A", "budget", {metric: score}, {}, {"labels": settings}, {"train": 7}, 0, mode="frozen",
            draw=draw, budget=n,
        )
        for n, own in scores.items()
        for draw, score in enumerate(own)
    ]  # fmt: skip


def test_points_are_means_over_draws_with_students_interval():
    rows = rows_of({10: [0.54, 0.56], 20: [0.62, 0.66], None: [0.7, 0.72]}, chose=78)
    (curve,) = curves_of(rows, "acc", "last", available=40)
    point = curve.points[0]
    assert [point.n for point in curve.points] == [10, 20, 40] and point.selection_labels == 78
    # t of one degree of freedom is 12.7062, and the standard error of 0.54 and 0.56 is 0.01.
    assert point.mean == pytest.approx(0.55)
    assert point.ends[1] - point.mean == pytest.approx(12.7062 * 0.01, rel=1e-4)
    assert curve.next_n == 80 and curve.expected.mean > 0.7
    assert "Settings or epochs were selected on 78 validation labels." in curve.sentence("acc", "labels")
    (curve,) = curves_of(rows_of({1: [0.1, 0.9], 2: [0.5, 0.6], 3: [0.7]}), "acc", "last", available=9)
    assert curve.points[0].ends == (0, 1) and "selected" not in curve.sentence("acc", "labels")


@pytest.mark.parametrize("score", [1.0, 0.25])
def test_equal_scores_have_no_curve(score):
    (curve,) = curves_of(
        rows_of({10: [score] * 2, 20: [score], None: [score]}, chose=5), "acc", "last", available=40
    )
    words = (
        "100.00 % with 40 labels: more cannot raise it"
        if score == 1
        else "25.00 % with every number of labels from 10 to 40: there is no curve to extrapolate"
    )
    assert curve.sentence("acc", "labels") == (
        f"A, frozen: acc. is {words}. Settings or epochs were selected on 5 validation labels."
    )
    points = [(point.n, point.mean, point.ends) for point in curve.points]
    figure = label_curves({"A": (points, curve.score, None)}, label="acc.", notes=["selected on 5 labels"])
    assert figure.axes[0].get_xlabel() == "labels\nselected on 5 labels"
    (line,) = (line for line in figure.axes[0].lines if len(line.get_xdata()) == 100)
    assert set(line.get_ydata()) == {score}


@pytest.mark.parametrize(
    "means",
    [(-0.2, 0.1, 0.3, 0.4), (-0.05, -0.06, -0.04, -0.05), (0.9, 1.0, 1.0, 1.0), (0.2, -0.1, -0.2, -0.3)],
)
def test_kappa_below_zero_and_perfect_scores_are_extrapolated_within_their_range(means):
    scores = dict(zip((10, 20, 40, 80), ([mean, mean - 0.01] for mean in means), strict=True))
    (curve,) = curves_of(rows_of(scores, "kappa"), "kappa", "last", available=80)
    found = curve.expected
    assert -1 <= found.ends[0] <= found.mean <= found.ends[1] <= 1
    words = curve.sentence("kappa", "labels")
    assert found.mean >= max(means) - 0.06 if means[0] < means[-1] else found.mean <= max(means)
    assert ("does not fit" in words) is (means[0] == 0.2)


def test_a_curve_that_reached_its_ceiling_or_rises_within_the_draws_is_no_misfit():
    (curve,) = curves_of(rows_of({10: [0.9], 20: [1.0], 40: [1.0], 80: [1.0]}), "acc", "last", available=80)
    assert curve.sentence("acc", "labels").endswith("100.00 % with 80 labels: more cannot raise it.")
    uneven = rows_of({10: [0.5, 0.7], 20: [0.67, 0.71], 40: [0.64, 0.66]})
    (curve,) = curves_of(uneven, "acc", "last", available=80)
    words = curve.sentence("acc", "labels")
    assert curve.expected.mean < curve.points[1].mean and "fit" not in words and "misses" not in words
    # As uncertain as the two draws of 40 labels.
    assert np.ptp(curve.expected.ends) > 0.3 * np.ptp(curve.points[2].ends)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (dict(budgets=[10, 10.0, 20]), "--budgets 10 20: a curve needs at least 3 different numbers"),
        (dict(budgets=[1, 2, 2.5]), "--budgets 2.5: a whole number above 0, or all, is needed"),
        (dict(budgets=[1, 2, 3], metric="ece"), "--metric 'ece': allowed are acc"),
        (dict(budgets=[1, 2, 3], which="worst"), "--which 'worst': allowed are last, best"),
        (dict(budgets=[1, 2, 3], next_budget=0), "--next 0: a whole number above 0"),
        (dict(budgets=[1, 2, 3], next_budget=80.5), "--next 80.5: a whole number above 0"),
        (dict(budgets=[1, 2, 3], next_budget=float("nan")), "--next nan: a whole number above 0"),
    ],
)
def test_bad_input_is_one_sentence(settings, words):
    with pytest.raises(UserError, match=words):
        label_curve("no.py", None, **settings)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            dict(budgets=[20, 2000, 5000]),
            "--budgets 20 2000 5000: evaluation_dataset has 1078 labels .* such as --budgets 134 269 539 all",
        ),
        (dict(budgets=[20, 40, 80], metric="kappa"), "kappa needs ordinal classes.* 'multi-class'"),
        (dict(budgets=[20, 40, 80], by="group"), "evaluation_dataset has no groups"),
        (dict(budgets=[20, 40, "all"], next_budget=1078), "--next 1078: a number of labels above 1078"),
    ],
)
def test_budgets_that_the_data_do_not_allow_are_refused(settings, words, tiny_config, monkeypatch):
    monkeypatch.setattr(module, "evaluate", None)
    with pytest.raises(UserError, match=words):
        label_curve(tiny_config, None, **settings)


def test_rows_of_other_weights_are_not_taken():
    raw, averaged = (
        {"checkpoint": {"path": "a", "sha256": "1", **more}} for more in ({}, {"weights": "averaged"})
    )
    moved = {"checkpoint": {"path": "b", "sha256": "1"}}
    one = Measurement("A", "budget", "frozen", Labels(0, budget=10, draw=0))
    row = ResultRow("A", "budget", {}, {}, {}, {}, 0, mode="frozen", draw=0, budget=10, source=raw)
    assert earlier_row([row], one, moved, row.recipe) is row
    assert earlier_row([row], one, averaged, row.recipe) is None


def test_falling_scores_are_said_not_to_fit():
    points = [Point(n, mean, (mean - 0.01, mean + 0.01), 2) for n, mean in ((10, 0.9), (20, 0.7), (40, 0.5))]
    law = fit_power_law({point.n: [1 - point.mean] for point in points})
    words = Curve("A", points, law, 80).sentence("acc", "labels")
    assert (
        "10 measured ones already gave more" in words
        and "misses the interval of the draws at 10, 40" in words
    )


def test_numbers_of_groups_are_compared_with_the_groups_that_have_a_label(tiny_config, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "evaluate", None)
    images, labels = np.zeros((12, 8, 8, 3), np.uint8), np.array([0, 1] * 5 + [-1, -1])
    content = {f"{split}_images": images for split in ("train", "test")}
    content |= dict(train_labels=labels, train_groups=np.arange(12) // 2)
    content |= dict(test_labels=labels, test_groups=12 + np.arange(12))
    np.savez(tmp_path / "patients.npz", **content)
    tiny_config.evaluation_dataset = dict(type="NPZDataset", data_root=str(tmp_path / "patients.npz"))
    with pytest.raises(UserError, match="--next 5: a number of groups above 5, the largest measured one"):
        label_curve(tiny_config, None, budgets=[2, 3, "all"], by="group", next_budget=5)

"""Confusion matrices and heatmaps show their data."""

import numpy as np
import pytest
from sklearn.metrics import multilabel_confusion_matrix, recall_score

from ssl_ext.visualization import confusion_heatmap, sweep_heatmap


def words(axes):
    return {text.get_position(): text.get_text() for text in axes.texts}


def test_confusion_shows_the_shares_of_each_true_class():
    figure = confusion_heatmap([[6, 2, 0], [0, 0, 0], [1, 1, 398]], ["a", "b", "c"], title="kNN")
    axes = figure.axes[0]
    shares = np.array([[0.75, 0.25, 0], [np.nan] * 3, [0.0025, 0.0025, 0.995]])
    np.testing.assert_allclose(np.ma.filled(axes.get_images()[0].get_array(), np.nan), 100 * shares)
    # Columns are predicted, rows true; no cell is empty.
    assert [words(axes)[column, row] for row in range(3) for column in range(3)] == [
        *("75", "25", "0"), *("–", "–", "–"), *("<1", "<1", "100")
    ]  # fmt: skip
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["a", "b", "c"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")
    assert figure.get_suptitle() == "kNN"


def test_labels_have_a_row_each_with_the_shares_of_their_positives_and_negatives():
    truth = np.array([[1, 0, 0], [1, 0, 1], [0, 0, 1], [1, 0, 0], [0, 0, 1]])
    guess = np.array([[1, 0, 1], [0, 0, 1], [1, 0, 0], [1, 0, 0], [0, 1, 1]])
    matrices = multilabel_confusion_matrix(truth, guess)
    axes = confusion_heatmap(matrices, ["a", "b", "c"]).axes[0]
    sensitivity, specificity = (
        recall_score(truth == one, guess == one, average=None, zero_division=np.nan) for one in (1, 0)
    )
    expected = np.stack([sensitivity, 1 - sensitivity, 1 - specificity, specificity], axis=1)
    np.testing.assert_allclose(np.ma.filled(axes.get_images()[0].get_array(), np.nan), 100 * expected)
    rows = [[words(axes)[column, row] for column in range(4)] for row in range(3)]
    assert rows[0] == ["2 (67 %)", "1 (33 %)", "1 (50 %)", "1 (50 %)"]
    assert rows[1] == ["0", "0", "1 (20 %)", "4 (80 %)"]
    heads = [tick.get_text().split("\n")[1] for tick in axes.get_xticklabels()]
    assert heads == ["(TP)", "(FN)", "(FP)", "(TN)"]


def test_a_long_title_stays_inside_the_figure():
    figure = confusion_heatmap(
        np.eye(2), ["a", "b"], title="SimCLR on breastmnist, linear\n" + "5 draws, " * 9
    )
    figure.draw_without_rendering()
    extent = figure._suptitle.get_window_extent()
    assert extent.x0 >= 0 and extent.x1 <= figure.bbox.width
    assert figure.get_suptitle().startswith("SimCLR on breastmnist, linear\n5 draws, ")


def test_confusion_of_many_classes_is_not_littered():
    matrix = np.eye(21)
    axes = confusion_heatmap(matrix, [str(i) for i in range(21)]).axes[0]
    assert not axes.texts and len(axes.get_xticklabels()) == 21
    names = [f"class {i}" for i in range(41)]
    axes = confusion_heatmap(np.eye(41), names).axes[0]
    assert not set(names) & {tick.get_text() for tick in axes.get_xticklabels()}


@pytest.mark.parametrize(
    ("matrix", "classes", "message"),
    [
        ([[1, 2]], ["a"], r"\(C, C\)"),
        (np.ones((2, 3, 3)), ["a", "b"], r"\(L, 2, 2\) of labels, with counts from 0, got \(2, 3, 3\)"),
        ([[1, -2], [0, 1]], ["a", "b"], "counts from 0"),
        ([[1, 2], [0, 1]], ["a"], "2 classes needs as many names: 1"),
    ],
)
def test_confusion_refuses(matrix, classes, message):
    with pytest.raises(ValueError, match=message):
        confusion_heatmap(matrix, classes)


def test_map_over_two_settings():
    lines = {"128": [(256, 90.0, 0.5), (64, 80.0, None)], "512": [(128, 70.25, 1.0)]}
    axes = sweep_heatmap(lines, x_label="batch_size", y_label="dim").axes[0]
    shown = np.ma.filled(axes.get_images()[0].get_array(), np.nan)
    np.testing.assert_array_equal(shown, [[80, np.nan, 90], [np.nan, 70.25, np.nan]])
    missing = dict.fromkeys([(1, 0), (0, 1), (2, 1)], "–")
    assert words(axes) == {
        (0, 0): "80.00", (2, 0): "90.00\n± 0.50", (1, 1): "70.25\n± 1.00", **missing
    }  # fmt: skip
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["64", "128", "256"]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["128", "512"]
    named = sweep_heatmap({"": [("b", 1.0, None), ("a", 1.0, None)]}, x_label="x", y_label="y").axes[0]
    assert [tick.get_text() for tick in named.get_xticklabels()] == ["b", "a"]
    with pytest.raises(ValueError, match="at least one point"):
        sweep_heatmap({}, x_label="x", y_label="y")


@pytest.mark.parametrize(
    ("scores", "noise", "limits", "words"),
    [
        ((70.0, 70.4), None, (67.7, 72.7), "single seeds: at least 5 wide"),
        ((70.0, 70.4), 1.5, (68.7, 71.7), "below 1.5 may be chance"),
        ((60.0, 80.0), 1.5, (60.0, 80.0), "below 1.5 may be chance"),
    ],
)
def test_colours_of_a_map_span_twice_the_differences_by_chance(scores, noise, limits, words):
    lines = {"": [(index, score, None) for index, score in enumerate(scores)]}
    axes, bar = sweep_heatmap(lines, x_label="x", y_label="y", noise=noise).axes
    assert axes.get_images()[0].get_clim() == pytest.approx(limits)
    assert bar.get_ylabel() == f"accuracy (%)\n{words}"

"""Figures fit the columns of a paper: sizes of text and figure, colours, labels, fonts of the PDF."""

import math

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.text import Text

from ssl_ext.visualization import (
    Cloud,
    confusion_heatmap,
    detection_panels,
    draw_mixed_grid,
    embedding_scatter,
    loss_curves,
    prediction_panels,
    save_figure,
    scores_bar,
    sweep_heatmap,
    sweep_lines,
    trimix_matrices,
    view_grid,
)
from ssl_ext.visualization.detections import STRONG
from ssl_ext.visualization.style import GREY, PALETTE, contrast, text_colour

RNG = np.random.default_rng(0)
IMAGES = RNG.random((4, 3, 6, 6))
LINES = {"64": [(1, 80.0, 0.5), (2, 81.0, 0.5)], "128": [(1, 80.5, 0.5), (2, 82.0, 0.5)]}
RECORDS = [{"step": s, "loss": 1.0 / s, "loss_a": 1.0, "knn_top1": 0.5, "lr": 0.1} for s in range(1, 50)]
POSITIVE = np.eye(3)[np.arange(30) % 3] > 0
BOXES = dict(boxes=np.array([[1, 1, 4, 4]]), labels=np.array([0]))
CLOUD = Cloud(RNG.random((60, 2)), "x", "y")
PHOTOGRAPH = np.zeros((3, 6, 6), np.uint8)

FIGURES = {
    "confusion": lambda: confusion_heatmap(np.eye(3), ["a", "b", "c"], title="kNN"),
    "curves": lambda: loss_curves({"a": RECORDS, "b": RECORDS}, smoothing=0.5),
    "accuracy": lambda: loss_curves({"a": RECORDS}, keys=["loss", "loss_a", "knn_top1", "lr"]),
    "detections": lambda: detection_panels(
        [PHOTOGRAPH],
        [dict(BOXES, difficult=np.array([False]))],
        [dict(BOXES, scores=np.array([0.9]))],
        ["cell"],
    ),
    "embedding": lambda: embedding_scatter(
        {"": Cloud(RNG.random((9, 2)), "x", "y")}, np.arange(9) % 3, "abc"
    ),
    "embeddings": lambda: embedding_scatter(
        {str(i): Cloud(RNG.random((60, 2)), "x", "y") for i in range(3)},
        np.arange(60),
        list(map(str, range(60))),
    ),
    "matrices": lambda: trimix_matrices(IMAGES, IMAGES, *[RNG.random((4, 4))] * 3, 0.5),
    "mixing": lambda: draw_mixed_grid({"mixup": (IMAGES, IMAGES[:, 0])}, [0.1, 0.3, 0.5, 0.7], IMAGES[:2]),
    "predictions": lambda: prediction_panels(
        RNG.random((30, 3)), POSITIVE, "abc", confidence=RNG.random(30), right=RNG.random(30) > 0.5
    ),
    "scores": lambda: scores_bar([("SimCLR", "kNN", 90.0, 1.0), ("pixels", "kNN", 80.0, None)]),
    "map": lambda: sweep_heatmap(LINES, x_label="x", y_label="y"),
    "lines": lambda: sweep_lines(LINES, x_label="x", legend="batch"),
    "views": lambda: view_grid(IMAGES, [IMAGES] * 9),
}


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_legible_in_a_column_or_on_a_page(name):
    figure = FIGURES[name]()
    assert figure.get_figwidth() <= 6.9
    figure.draw_without_rendering()
    texts = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
    assert texts and min(text.get_fontsize() for text in texts) >= 6
    (left, bottom), (right, top) = figure.get_tightbbox().get_points()
    assert left >= -0.01 and bottom >= -0.01
    assert right <= figure.get_figwidth() + 0.01 and top <= figure.get_figheight() + 0.01
    for axes in figure.axes:
        plotted = not axes.images and (axes.lines or axes.collections or axes.patches)
        if plotted and len(axes.get_xticks()) and axes.get_label() != "<colorbar>":
            assert axes.get_ylabel() and axes.get_xlabel()
    for line in [line for axes in figure.axes for line in axes.lines]:
        colour = line.get_color()
        pale = isinstance(colour, tuple) and colour[-1] < 1  # raw values behind an average
        assert pale or contrast(colour) >= 3, to_hex(colour)


def test_colours_show_on_white_and_texts_on_colours():
    assert min(contrast(colour) for colour in (*PALETTE, GREY)) >= 3
    assert len(set(PALETTE)) == 10
    assert contrast("white", "black") == pytest.approx(21)
    assert contrast("0.5") == pytest.approx(3.98, abs=0.01)
    for colour in (*PALETTE, *STRONG, "white", "black"):
        assert contrast(text_colour(colour), colour) >= math.sqrt(21) - 1e-9


def test_a_pdf_has_its_fonts_embedded_as_truetype(tmp_path):
    _, pdf = save_figure(FIGURES["scores"](), tmp_path / "scores")
    content = pdf.read_bytes()
    assert b"/FontFile2" in content and b"/Type3" not in content and b"/Subtype /Image" not in content

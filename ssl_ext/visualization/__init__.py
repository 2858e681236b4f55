"""Figures: functions from arrays to a matplotlib Figure, and saving."""

from .confusion import confusion_heatmap
from .curves import loss_curves
from .detections import detection_panels
from .embeddings import Cloud, embedding_scatter
from .heatmap import sweep_heatmap
from .matrices import trimix_matrices
from .mixing import draw_mixed_grid
from .predictions import prediction_figures, prediction_panels
from .projections import tsne_projection, umap_projection
from .save import save_figure
from .scalars import read_scalars
from .scores import scores_bar
from .sweeps import sweep_lines
from .views import view_grid

__all__ = [
    "Cloud",
    "confusion_heatmap",
    "detection_panels",
    "draw_mixed_grid",
    "embedding_scatter",
    "loss_curves",
    "prediction_figures",
    "prediction_panels",
    "read_scalars",
    "save_figure",
    "scores_bar",
    "sweep_heatmap",
    "sweep_lines",
    "trimix_matrices",
    "tsne_projection",
    "umap_projection",
    "view_grid",
]

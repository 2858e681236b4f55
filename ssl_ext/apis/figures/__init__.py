"""Figures of configs, runs, checkpoints and results; each function returns an unsaved figure."""

from .confusion import confusion_figure
from .detections import detections_figure
from .embeddings import embedding_figure
from .logs import curves_figure, scores_figure
from .matrices import matrices_figure
from .mixing import mixing_figure
from .predictions import predictions_figure
from .sweep import grid_figure
from .views import views_figure

__all__ = [
    "confusion_figure",
    "curves_figure",
    "detections_figure",
    "embedding_figure",
    "grid_figure",
    "matrices_figure",
    "mixing_figure",
    "predictions_figure",
    "scores_figure",
    "views_figure",
]

"""Figures: functions of arrays that return a matplotlib Figure, and one that writes it."""

from .curves import loss_curves
from .embeddings import embedding_scatter, pca_projection
from .matrices import trimix_matrices
from .save import save_figure
from .scalars import read_scalars
from .scores import scores_bar
from .sweeps import sweep_lines
from .views import view_grid

__all__ = [
    "embedding_scatter",
    "loss_curves",
    "pca_projection",
    "read_scalars",
    "save_figure",
    "scores_bar",
    "sweep_lines",
    "trimix_matrices",
    "view_grid",
]

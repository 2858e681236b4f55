"""Visualizer, MMEngine's writer of logs, without an early import of matplotlib."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import mmengine.visualization
import numpy as np

from ssl_ext.registry import VISUALIZERS

CANVAS = ("fig_save_canvas", "fig_save", "ax_save")


@VISUALIZERS.register_module()
class Visualizer(mmengine.visualization.Visualizer):
    """MMEngine's visualizer, which imports matplotlib and creates its figure only to draw an image.

    Args:
        name: Name of this instance.
        image: (H, W, 3), the image to draw on.
        **kwargs: See :class:`mmengine.visualization.Visualizer`.
    """

    def __init__(self, name: str = "visualizer", image: np.ndarray | None = None, **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
        for attribute in (*CANVAS, "dpi"):
            delattr(self, attribute)
        if image is not None:
            self.set_image(image)

    def _initialize_fig(self, fig_cfg: dict) -> tuple:
        return None, SimpleNamespace(get_dpi=lambda: None), None

    def __getattr__(self, name: str) -> Any:
        # Called for missing attributes: those of the figure are created when one of them is read.
        if name not in (*CANVAS, "dpi"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        vars(self).update(zip(CANVAS, super()._initialize_fig(self.fig_save_cfg), strict=True))
        self.dpi = self.fig_save.get_dpi()
        return vars(self)[name]

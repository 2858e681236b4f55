"""Saving figures as PNG and PDF."""

from __future__ import annotations

import os
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from ssl_ext.files import replacing


def save_figure(
    figure: Figure, path_without_suffix: str | os.PathLike[str], *, dpi: int = 200
) -> tuple[Path, Path]:
    """Write ``<path>.png`` and ``<path>.pdf``; equal figures give identical files.

    Files are written atomically. Missing folders are created; dots in the name (``tau0.1``) are kept.

    Args:
        figure: The figure.
        path_without_suffix: Folder and name of both files.
        dpi: Dots per inch of the PNG.

    Returns:
        Paths of the PNG and the PDF.
    """
    png, pdf = Path(f"{path_without_suffix}.png"), Path(f"{path_without_suffix}.pdf")
    # Type 42 embeds TrueType fonts, which publishers require and editors can change.
    with matplotlib.rc_context({"pdf.fonttype": 42}), replacing(png) as raster:
        figure.savefig(raster, format="png", dpi=dpi, metadata={"Software": None})
        with replacing(pdf) as vector:
            figure.savefig(vector, format="pdf", dpi=dpi, metadata={"CreationDate": None})
    return png, pdf

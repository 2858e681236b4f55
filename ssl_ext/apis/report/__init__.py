"""Reports of many evaluations: groups of comparable results, text tables and an HTML page."""

from .budgets import budget_grid
from .comparison import Comparison, Line, NamedRow, comparable_settings, compare, data_name
from .grid import Grid
from .page import Picture, render_page
from .references import References, read_references
from .run import report
from .text import long_grid, measurements_csv, notes, wide_grid

__all__ = [
    "Comparison",
    "Grid",
    "Line",
    "NamedRow",
    "Picture",
    "References",
    "budget_grid",
    "comparable_settings",
    "compare",
    "data_name",
    "long_grid",
    "measurements_csv",
    "notes",
    "read_references",
    "render_page",
    "report",
    "wide_grid",
]

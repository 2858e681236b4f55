"""Formatting of differences and p-values."""

from __future__ import annotations

from ssl_ext.evaluation.metric_names import Metric


def difference_text(value: float, ends: tuple[float, float] | None, metric: Metric) -> str:
    """Format a signed difference and its interval in the metric's unit.

    >>> difference_text(0.0123, (-0.01, 0.03), Metric("acc. %", 100, 2))
    '+1.23 [-1.00,+3.00]'
    """
    texts = [f"{metric.scale * number:+.{metric.digits}f}" for number in (value, *(ends or ()))]
    return texts[0] + (f" [{texts[1]},{texts[2]}]" if ends else "")


def p_text(p: float | None) -> str:
    """Format a p-value with four decimals; None (not tested) is a dash.

    >>> p_text(0.00001), p_text(None)
    ('<0.0001', '-')
    """
    if p is None:
        return "-"
    return "<0.0001" if p < 1e-4 else f"{p:.4f}"

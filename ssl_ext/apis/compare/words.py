"""Differences and p-values as text."""

from __future__ import annotations

from ssl_ext.evaluation.metric_names import Metric


def difference_text(value: float, ends: tuple[float, float] | None, metric: Metric) -> str:
    """A signed difference with its interval, in the metric's unit.

    >>> difference_text(0.0123, (-0.01, 0.03), Metric("acc. %", 100, 2))
    '+1.23 [-1.00,+3.00]'
    """
    texts = [f"{metric.scale * number:+.{metric.digits}f}" for number in (value, *(ends or ()))]
    return texts[0] + (f" [{texts[1]},{texts[2]}]" if ends else "")


def p_text(p: float | None) -> str:
    """A p-value to four decimals; a dash where no test was made.

    >>> p_text(0.00001), p_text(None)
    ('<0.0001', '-')
    """
    if p is None:
        return "-"
    return "<0.0001" if p < 1e-4 else f"{p:.4f}"

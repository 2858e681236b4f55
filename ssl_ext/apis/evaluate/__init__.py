"""Evaluation of a checkpoint: a request, its plan, one loop over the plan, and the rows of a table."""

from .plan import Measurement, plan
from .request import Request
from .run import evaluate

__all__ = ["Measurement", "Request", "evaluate", "plan"]

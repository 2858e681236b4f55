"""What the command-line tools and notebooks call."""

from .build import build_model, load_config, parse_options
from .evaluate import evaluate
from .pretrain import pretrain

__all__ = ["build_model", "evaluate", "load_config", "parse_options", "pretrain"]

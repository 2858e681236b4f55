"""What the command-line tools and notebooks call."""

from ssl_ext.config.build import build_model, load_config, parse_options
from ssl_ext.exporting import timm_resnet, torchvision_resnet

from .evaluate.evaluate import evaluate
from .export import export
from .pretrain import pretrain

__all__ = [
    "build_model",
    "evaluate",
    "export",
    "load_config",
    "parse_options",
    "pretrain",
    "timm_resnet",
    "torchvision_resnet",
]

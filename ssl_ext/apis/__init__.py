"""Functions behind the command-line tools, for notebooks and scripts."""

from ssl_ext.config.load import load_config, parse_options
from ssl_ext.config.networks import build_model
from ssl_ext.exporting import timm_resnet, torchvision_resnet

from .evaluate import evaluate
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

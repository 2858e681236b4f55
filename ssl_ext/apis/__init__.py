"""Functions behind the command-line tools, for notebooks and scripts; each is imported on first use."""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ssl_ext.config.load import load_config, parse_options
    from ssl_ext.config.networks import build_model
    from ssl_ext.exporting import load_classifier, timm_resnet, torchvision_resnet

    from .audit import audit
    from .evaluate import evaluate
    from .explore import explore
    from .export import export
    from .pack import pack
    from .predict import predict
    from .pretrain import pretrain

__all__ = [
    "audit",
    "build_model",
    "evaluate",
    "explore",
    "export",
    "load_classifier",
    "load_config",
    "pack",
    "parse_options",
    "predict",
    "pretrain",
    "timm_resnet",
    "torchvision_resnet",
]
PLACES = {
    "audit": "ssl_ext.apis.audit.run",
    "build_model": "ssl_ext.config.networks",
    "evaluate": "ssl_ext.apis.evaluate.run",
    "explore": "ssl_ext.apis.explore.run",
    "export": "ssl_ext.apis.export",
    "load_classifier": "ssl_ext.exporting",
    "load_config": "ssl_ext.config.load",
    "pack": "ssl_ext.apis.pack",
    "parse_options": "ssl_ext.config.load",
    "predict": "ssl_ext.apis.predict",
    "pretrain": "ssl_ext.apis.pretrain",
    "timm_resnet": "ssl_ext.exporting",
    "torchvision_resnet": "ssl_ext.exporting",
}


class _LazyPackage(ModuleType):
    """The package, with the functions of :data:`PLACES` as attributes."""

    def __getattr__(self, name: str) -> Any:
        if name not in PLACES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        vars(self)[name] = getattr(import_module(PLACES[name]), name)
        return vars(self)[name]

    def __setattr__(self, name: str, value: Any) -> None:
        # Python makes an imported submodule an attribute; some are called as their function is.
        if name not in PLACES or not isinstance(value, ModuleType):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _LazyPackage

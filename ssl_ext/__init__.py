"""Self-supervised visual representation learning on MMEngine's registry."""

import warnings
from importlib import import_module
from typing import Any

from .moved import install

__version__ = "0.1.0"

# mmcv warns at import that its compiled operators are missing; they are not needed.
warnings.filterwarnings("ignore", message="Fail to import ``MultiScaleDeformableAttention``")
install()

PLACES = {"evaluate": "ssl_ext.apis.python", "load": "ssl_ext.exporting", "pretrain": "ssl_ext.apis.python"}


def __getattr__(name: str) -> Any:
    """A function of :data:`PLACES`, imported on first use."""
    if name not in PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(PLACES[name]), name)


def __dir__() -> list[str]:
    """Names of the package, with the functions of :data:`PLACES`."""
    return [*globals(), *PLACES]

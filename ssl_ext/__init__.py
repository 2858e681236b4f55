"""Self-supervised visual representation learning on MMEngine's registry."""

__version__ = "0.1.0"

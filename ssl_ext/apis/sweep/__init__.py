"""A grid of settings: trained, evaluated, and joined in one table."""

from .sweep import sweep

__all__ = ["sweep"]

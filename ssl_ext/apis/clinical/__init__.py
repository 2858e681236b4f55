"""Page of one classifier for medical readers, computed from its stored predictions."""

from .run import clinical_report

__all__ = ["clinical_report"]

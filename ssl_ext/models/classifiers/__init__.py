"""Image classifiers: plain, with hand-crafted mixing policies, and with learned mixing."""

from .amix import AMix
from .amix_clusters import AMixClusters
from .automix import AutoMix
from .base import ImageClassifier
from .mixup import MixupClassifier

__all__ = ["AMix", "AMixClusters", "AutoMix", "ImageClassifier", "MixupClassifier"]

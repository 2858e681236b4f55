"""Object detection as a downstream task; imported when a config first uses it."""

from .coco import CocoDetection
from .collate import collate_detection
from .evaluation_hook import DetectionEvaluationHook, detect
from .evaluator import DetectionEvaluator
from .faster_rcnn import FasterRCNN
from .initialization import initialize
from .preprocessor import DetectionPreprocessor
from .voc import VOC_CLASSES, VOCDetection

__all__ = [
    "VOC_CLASSES",
    "CocoDetection",
    "DetectionEvaluationHook",
    "DetectionEvaluator",
    "DetectionPreprocessor",
    "FasterRCNN",
    "VOCDetection",
    "collate_detection",
    "detect",
    "initialize",
]

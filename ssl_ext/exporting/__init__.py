"""Export of backbones: file formats, and the matching networks of other libraries."""

from .architecture import ResNetArchitecture, read_architecture
from .classifier import Classifier, load_classifier
from .detectron2_file import Detectron2File
from .embedder import Embedder
from .formats import Format
from .loading import load
from .networks import timm_resnet, torchvision_resnet
from .onnx_file import OnnxFile
from .safetensors_file import SafetensorsFile
from .state_dict_files import TimmFile, TorchvisionFile
from .verify import TOLERANCE, largest_difference, random_images

FORMATS: dict[str, Format] = {
    "torchvision": TorchvisionFile(),
    "timm": TimmFile(),
    "detectron2": Detectron2File(),
    "safetensors": SafetensorsFile(),
    "onnx": OnnxFile(),
}

__all__ = [
    "FORMATS",
    "TOLERANCE",
    "Classifier",
    "Detectron2File",
    "Embedder",
    "Format",
    "OnnxFile",
    "ResNetArchitecture",
    "SafetensorsFile",
    "TimmFile",
    "TorchvisionFile",
    "largest_difference",
    "load",
    "load_classifier",
    "random_images",
    "read_architecture",
    "timm_resnet",
    "torchvision_resnet",
]

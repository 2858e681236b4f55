"""Data sets: in-memory sets indexed by batch, and image files decoded by the loader's workers."""

from ssl_ext.datasets.array_dataset import ArrayDataset
from ssl_ext.datasets.cifar import CIFAR10, CIFAR100
from ssl_ext.datasets.collate import collate_batch
from ssl_ext.datasets.digits import Digits
from ssl_ext.datasets.fine_grained import CUB200, FGVCAircraft
from ssl_ext.datasets.folder import FolderDataset
from ssl_ext.datasets.image_files import ImageFiles
from ssl_ext.datasets.joined import JoinedDataset
from ssl_ext.datasets.medmnist import MedMNIST
from ssl_ext.datasets.mnist import KMNIST, MNIST, FashionMNIST
from ssl_ext.datasets.npz import NPZDataset
from ssl_ext.datasets.packed import PackedDataset
from ssl_ext.datasets.sampler import DefaultSampler
from ssl_ext.datasets.stl10 import STL10
from ssl_ext.datasets.svhn import SVHN
from ssl_ext.datasets.tiny_imagenet import TinyImageNet
from ssl_ext.datasets.usps import USPS

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "CUB200",
    "KMNIST",
    "MNIST",
    "STL10",
    "SVHN",
    "USPS",
    "ArrayDataset",
    "DefaultSampler",
    "Digits",
    "FGVCAircraft",
    "FashionMNIST",
    "FolderDataset",
    "ImageFiles",
    "JoinedDataset",
    "MedMNIST",
    "NPZDataset",
    "PackedDataset",
    "TinyImageNet",
    "collate_batch",
]

"""Fine-grained classification: birds and aircraft, with the official splits."""

from pathlib import Path
from typing import Any, NamedTuple

from ssl_ext.datasets.archives import download_and_extract_archive
from ssl_ext.datasets.file_dataset import FileDataset
from ssl_ext.datasets.files import check_split, damaged_file, downloading, missing_file
from ssl_ext.registry import DATASETS

SPLITS = ("train", "test")


class Archive(NamedTuple):
    """Source of a set: URL, MD5 (None: none published), top folder, and a file that marks it as unpacked."""

    url: str
    md5: str | None
    folder: str
    last: str


@DATASETS.register_module()
class CUB200(FileDataset):
    """Caltech-UCSD Birds 200-2011: 5,994 train and 5,794 test images of 200 species of birds.

    Args:
        split: ``'train'`` or ``'test'``.
        data_root: folder that holds ``CUB_200_2011``.
        download: fetch and unpack the archive (1.1 GB) unless it exists.
        **kwargs: ``image_size``, ``crop``, ``scale``, ``channels``: see FileDataset.

    Raises:
        FileNotFoundError: no files and ``download=False``.
        ConnectionError: the download failed.
        ValueError: unknown split, option out of range, or inconsistent annotation files.
    """

    archive = Archive(
        "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz",
        "97eceeb196236b17998738112f37df78",
        "CUB_200_2011",
        "train_test_split.txt",
    )

    def __init__(
        self, split: str, data_root: str = "data/cub200", *, download: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        check_split(split, SPLITS, "CUB200")
        tree = _unpacked(Path(data_root).expanduser(), self.archive, "CUB200", download)
        names, labels, roles, classes = (
            _read_pairs(tree / f"{name}.txt")
            for name in ("images", "image_class_labels", "train_test_split", "classes")
        )
        if not set(names) == set(labels) == set(roles) or not set(labels.values()) <= set(classes):
            raise damaged_file(tree, "its lists do not have the same images and classes")
        numbers = {key: position for position, key in enumerate(classes)}
        chosen = [key for key in names if roles[key] == str(int(split == "train"))]
        self.set_files(
            [str(tree / "images" / names[key]) for key in chosen],
            [numbers[labels[key]] for key in chosen],
            classes=[name.partition(".")[2].replace("_", " ") for name in classes.values()],
            split=split,
            available_splits=SPLITS,
        )


@DATASETS.register_module()
class FGVCAircraft(FileDataset):
    """FGVC-Aircraft (2013b), 100 variants: 6,667 train (the official ``trainval``) and 3,333 test images.

    Args:
        split: ``'train'`` or ``'test'``.
        data_root: folder that holds ``fgvc-aircraft-2013b``.
        download: fetch and unpack the archive (2.6 GB) unless it exists.
        **kwargs: ``image_size``, ``crop``, ``scale``, ``channels``: see FileDataset.

    Raises:
        FileNotFoundError: no files and ``download=False``.
        ConnectionError: the download failed.
        ValueError: unknown split, option out of range, or inconsistent annotation files.
    """

    archive = Archive(
        "https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/archives/fgvc-aircraft-2013b.tar.gz",
        None,
        "fgvc-aircraft-2013b",
        "data/variants.txt",
    )

    def __init__(
        self, split: str, data_root: str = "data/fgvc_aircraft", *, download: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        check_split(split, SPLITS, "FGVCAircraft")
        tree = _unpacked(Path(data_root).expanduser(), self.archive, "FGVCAircraft", download) / "data"
        classes = _lines(tree / "variants.txt")
        variants = _read_pairs(tree / f"images_variant_{'trainval' if split == 'train' else split}.txt")
        if not set(variants.values()) <= set(classes):
            raise damaged_file(tree, "variants.txt does not name every variant of the images")
        self.set_files(
            [str(tree / "images" / f"{name}.jpg") for name in variants],
            [classes.index(variant) for variant in variants.values()],
            classes=classes,
            split=split,
            available_splits=SPLITS,
        )


def _unpacked(root: Path, archive: Archive, dataset: str, download: bool) -> Path:
    """Return the folder of the unpacked archive; download it first if ``download`` is True."""
    tree = root / archive.folder
    by_hand = f"unpack {archive.url} so that {tree.absolute()} exists"
    if download and not (tree / archive.last).is_file():
        with downloading(root, dataset, archive.url, by_hand):
            if not (tree / archive.last).is_file():
                download_and_extract_archive(archive.url, str(root), md5=archive.md5)
    if not (tree / archive.last).is_file():
        raise missing_file(tree / archive.last, dataset, by_hand)
    return tree


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise damaged_file(path, "is missing: the archive was not unpacked completely")
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _read_pairs(path: Path) -> dict[str, str]:
    """Return {first word: rest of the line} in file order."""
    pairs = [line.split(maxsplit=1) for line in _lines(path)]
    if wrong := next((number for number, pair in enumerate(pairs, start=1) if len(pair) < 2), None):
        raise damaged_file(path, f"line {wrong} holds one word; two are needed")
    return {key: value.strip() for key, value in pairs}

"""Reading annotation files in PASCAL VOC's format."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from ssl_ext.datasets.files import damaged_file

from .annotations import Box

CORNERS = ("xmin", "ymin", "xmax", "ymax")


def read_voc_xml(path: Path) -> tuple[str | None, tuple[int, int] | None, list[Box]]:
    """Read the file name of the image, its (H, W) and its objects; the first two are None if missing.

    VOC counts pixels from 1 and includes the last one: ``xmin = 1``, ``xmax = W`` is as wide as the image.
    The returned corners are edges from 0: minima are reduced by 1, maxima are unchanged.

    Raises:
        ValueError: the file is not XML or not an annotation, or an object lacks its name or a corner.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise damaged_file(path, f"is not well-formed XML: {error}") from error
    if root.tag != "annotation":
        raise damaged_file(path, f"is not a VOC annotation: its root element is <{root.tag}>")
    name = (root.findtext("filename") or "").strip() or None
    objects = enumerate(root.findall("object"), 1)
    return name, _size(path, root), [_object(path, number, node) for number, node in objects]


def _size(path: Path, root: ElementTree.Element) -> tuple[int, int] | None:
    texts = [root.findtext(f"size/{side}") for side in ("height", "width")]
    try:
        height, width = (int(text or 0) for text in texts)
    except ValueError:
        found = [text and text[:20] for text in texts]
        raise damaged_file(path, f"<size> does not hold integers: height, width = {found}") from None
    # Some tools write 0 for an unknown size.
    return (height, width) if height > 0 and width > 0 else None


def _object(path: Path, number: int, node: ElementTree.Element) -> Box:
    name = (node.findtext("name") or "").strip()
    if not name:
        raise damaged_file(path, f"object {number} has no <name>")
    texts = [node.findtext(f"bndbox/{corner}") for corner in CORNERS]
    try:
        # Some corners in VOC2012 are decimal fractions.
        values = [float(text) if text else math.nan for text in texts]
    except ValueError:
        values = [math.nan]
    if not all(map(math.isfinite, values)):
        found = ", ".join(f"{corner}={text!r}" for corner, text in zip(CORNERS, texts, strict=True))
        raise damaged_file(path, f"object {number} ({name!r}) has an incomplete <bndbox>: {found}")
    difficult = (node.findtext("difficult") or "0").strip()
    if difficult not in ("0", "1"):
        raise damaged_file(path, f"object {number} ({name!r}): <difficult> must be 0 or 1, got {difficult!r}")
    x1, y1, x2, y2 = values
    return Box(name, (x1 - 1, y1 - 1, x2, y2), difficult == "1", tuple(values))

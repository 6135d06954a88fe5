"""Read Pascal VOC's XML to a table of boxes, checked against their images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree.ElementTree import Element, ParseError

import pandas as pd

from kit.competition.images.decode import UnreadableImageError, header_size
from kit.competition.images.files import ImageFolder
from kit.competition.layouts.base import BOX
from kit.config import LabeledSource, VocConfig
from kit.errors import KitError, counted, counted_of, first_few

UNKNOWN_SIZE = (2**31, 2**31)  # for an unreadable image: contains every box
BOX_COLUMNS = ["image", "path", "number", "label", "difficult", *BOX, "width", "height"]

Boxes = tuple[pd.DataFrame, dict[str, str], list[str]]  # see `read_boxes`


class Voc(LabeledSource):
    """Images with boxes in Pascal VOC's XML."""

    folder: str = "JPEGImages"
    """The folder of the images."""
    annotations: str = "Annotations"
    """The folder of the XML files."""
    set: str | None = None
    """A file that lists the images to read, one name per line; null: all annotated images."""


class BadAnnotationError(Exception):
    """An XML file that is damaged or no annotation; the message is the reason."""


class NoAnnotationError(BadAnnotationError):
    """An XML file with other content."""


class Annotation(NamedTuple):
    """The content of an XML file: the image's file name and size (0 if not given), and its boxes."""

    file_name: str
    size: tuple[int, int]
    boxes: list[tuple[str, bool, tuple[int, int, int, int]]]


def read_boxes(root: Path, source: Voc, rules: VocConfig) -> Boxes:
    """Return the boxes that the rules keep, all annotated images, and the images without annotation.

    The box ``number`` counts the objects of its XML file from 0, whatever the rules keep. Coordinates are
    pixels.

    Returns:
        A table with the columns ``BOX_COLUMNS``; image name -> path; paths.

    Raises:
        KitError: An XML file cannot be read, has no image, or has invalid boxes and the rules refuse them.
    """
    images = ImageFolder.open(root, source.folder, "stem")
    names = _listed(root, source)
    annotations = _read_all(root / source.annotations, names)
    paths = _find_images(root / source.annotations, annotations, images)
    rows = [
        (name, paths[name], number, label, difficult, *box, *size)
        for name, annotation in annotations.items()
        for size in [_size(annotation, root / paths[name])]
        for number, (label, difficult, box) in enumerate(annotation.boxes)
    ]
    boxes = pd.DataFrame(rows, columns=BOX_COLUMNS).astype({"image": str, "path": str, "label": str})
    boxes = _valid(boxes, root / source.annotations, rules)
    sides = boxes[["xmax", "ymax"]].to_numpy() - boxes[["xmin", "ymin"]].to_numpy()
    keep = (sides >= rules.min_side).all(axis=1)
    if rules.difficult == "skip":
        keep &= ~boxes["difficult"].to_numpy(dtype=bool)
    listed = set(paths.values())
    others = [] if source.set else [path for path in images.paths.values() if path not in listed]
    return boxes[keep].reset_index(drop=True), paths, others


def _listed(root: Path, source: Voc) -> list[str]:
    """Return the names of the annotations to read: the names in the set, or all."""
    folder = root / source.annotations
    if not folder.is_dir():
        rule = "It should hold one XML file per image"
        raise KitError(folder, "there is no such folder", rule, code="folder_missing")
    available = sorted(path.stem for path in folder.iterdir() if path.suffix.lower() == ".xml")
    if not available:
        raise KitError(folder, "has no XML file", "Each image has one in Pascal VOC's format", code="no_xml")
    if source.set is None:
        return available
    names = read_set(root / source.set)
    known = set(available)
    missing = [name for name in names if name not in known]
    if missing:
        raise KitError(
            root / source.set,
            f"{counted_of(len(missing), len(names), 'image', 'has', 'have')} no XML file in "
            f"{source.annotations}/ "
            f"({first_few(missing)})",
            "Every listed image needs an annotation",
            code="annotation_missing",
        )
    return names


def read_set(path: Path) -> list[str]:
    """Return the image names in a set file, one per line.

    Raises:
        KitError: The file is missing or empty, or lists an image twice.
    """
    rule = "A set lists image names, one per line"
    if not path.is_file():
        raise KitError(path, "there is no such file", rule, code="file_missing")
    names = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if not names or twice:
        what = (
            f"{counted(len(twice), 'image is', 'images are')} listed twice ({first_few(twice)})"
            if twice
            else "is empty"
        )
        raise KitError(path, what, rule, code="set_invalid")
    return names


def _read_all(folder: Path, names: Sequence[str]) -> dict[str, Annotation]:
    found: dict[str, Annotation] = {}
    problems: list[str] = []
    for name in names:
        try:
            found[name] = read_annotation(folder / f"{name}.xml")
        except BadAnnotationError as error:
            problems.append(f"{name}.xml: {error}")
    if problems:
        raise KitError(
            folder,
            f"{len(problems)} XML files cannot be read ({first_few(problems)})",
            "Each is a Pascal VOC annotation",
            "Fix them.",
            code="annotation_invalid",
        )
    return found


def read_annotation(path: Path) -> Annotation:
    """Return the content of an XML file. Entities are never resolved: a file that declares any is refused.

    Raises:
        BadAnnotationError: The file does not parse, declares a document type, or has an invalid box.
    """
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import parse

    try:
        tree = parse(str(path), forbid_dtd=True).getroot()
    except DefusedXmlException as error:
        raise BadAnnotationError("declares a document type or entities, which kit never resolves") from error
    except (ParseError, ValueError, LookupError, OSError) as error:
        place = f" from line {error.position[0]}" if isinstance(error, ParseError) else ""
        raise BadAnnotationError(f"is not XML{place}") from error
    if tree is None or tree.tag != "annotation":
        raise NoAnnotationError("has no <annotation>")
    size = (_number(tree, "size/width", 0), _number(tree, "size/height", 0))
    boxes = [_read_object(each) for each in tree.findall("object")]
    return Annotation((tree.findtext("filename") or "").strip(), size, boxes)


def _read_object(element: Element) -> tuple[str, bool, tuple[int, int, int, int]]:
    label = (element.findtext("name") or "").strip()
    if not label:
        raise BadAnnotationError("has an object without a name")
    xmin, ymin, xmax, ymax = (_number(element, f"bndbox/{side}") for side in BOX)
    return label, (element.findtext("difficult") or "0").strip() == "1", (xmin, ymin, xmax, ymax)


def _number(element: Element, place: str, default: int | None = None) -> int:
    text = element.findtext(place)
    if text is None and default is not None:
        return default
    try:
        return round(float(text or ""))
    except (ValueError, OverflowError) as error:
        raise BadAnnotationError(f"<{place}> is {text!r}, not a number") from error


def _find_images(folder: Path, annotations: dict[str, Annotation], images: ImageFolder) -> dict[str, str]:
    """Return name -> path: the image with the XML file's name, or else the image that the XML names.

    The file's own name has priority, because tools that rename files often leave the old name in the XML.
    """
    found: dict[str, str] = {}
    problems: list[str] = []
    for name, annotation in annotations.items():
        named = Path(annotation.file_name).stem
        path = images.paths.get(name) or images.paths.get(named)
        if path is None:
            problems.append(f"{name}.xml names '{annotation.file_name}'")
        else:
            found[name] = path
    if problems:
        raise KitError(
            folder,
            f"{len(problems)} XML files have no image in {images.folder}/ ({first_few(problems)})",
            "Each annotation needs an image",
            "Add the images, or remove the annotations from the set.",
            code="image_missing",
        )
    return found


def _size(annotation: Annotation, path: Path) -> tuple[int, int]:
    """Return the image's size from the XML, or else from the image's header."""
    if min(annotation.size) > 0:
        return annotation.size
    try:
        return header_size(path)
    except UnreadableImageError:
        return UNKNOWN_SIZE  # the scan reports the image


def _valid(boxes: pd.DataFrame, folder: Path, rules: VocConfig) -> pd.DataFrame:
    """Return the boxes inside their image that have an area; the rules refuse or skip the others."""
    outside = (boxes["xmin"] < 0) | (boxes["ymin"] < 0)
    outside |= (boxes["xmax"] > boxes["width"]) | (boxes["ymax"] > boxes["height"])
    flat = (boxes["xmax"] <= boxes["xmin"]) | (boxes["ymax"] <= boxes["ymin"])
    bad = boxes[outside | flat]
    if rules.bad_boxes == "refuse" and len(bad):
        named = [f"{row.image}.xml object {row.number}" for row in bad.itertuples()]
        raise KitError(
            folder,
            counted(len(bad), "box lies outside its image or has", "boxes lie outside their image or have")
            + f" no area ({first_few(named)})",
            "A box is inside its image",
            "Fix them, or set `competition.voc.bad_boxes: skip`.",
            code="box_invalid",
        )
    return boxes[~(outside | flat)]

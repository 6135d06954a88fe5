"""Pascal VOC: boxes in XML -> a table of boxes, checked against their images before anything uses them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree.ElementTree import Element, ParseError

import pandas as pd

from kit.competition.decode import UnreadableImageError, header_size
from kit.competition.files import ImageFolder
from kit.config import Voc, VocConfig
from kit.errors import KitError, first_few

BOX = ["xmin", "ymin", "xmax", "ymax"]
UNKNOWN_SIZE = (2**31, 2**31)  # no box is outside an image whose size nobody knows
BOX_COLUMNS = ["image", "path", "number", "label", "difficult", *BOX, "width", "height"]

Boxes = tuple[pd.DataFrame, dict[str, str], list[str]]  # see `read_boxes`


class BadAnnotationError(Exception):
    """An XML file that is no annotation; the message says why."""


class NoAnnotationError(BadAnnotationError):
    """An XML file that is about something else."""


class Annotation(NamedTuple):
    """What one XML file says: the image's file name and size (0 where unsaid), and its boxes."""

    file_name: str
    size: tuple[int, int]
    boxes: list[tuple[str, bool, tuple[int, int, int, int]]]


def read_boxes(root: Path, source: Voc, rules: VocConfig) -> Boxes:
    """Return the boxes that the rules leave, all annotated images, and the images without annotation.

    The box ``number`` counts the objects of its XML file from 0, so that it means the same under any rules.
    Coordinates are pixels.

    Returns:
        A table with the columns ``BOX_COLUMNS``; image name -> path; paths.

    Raises:
        KitError: XML cannot be read, has no image, or has impossible boxes while the rules refuse them.
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
    boxes = _possible(boxes, root / source.annotations, rules)
    sides = boxes[["xmax", "ymax"]].to_numpy() - boxes[["xmin", "ymin"]].to_numpy()
    keep = (sides >= rules.min_side).all(axis=1)
    if rules.difficult == "skip":
        keep &= ~boxes["difficult"].to_numpy(dtype=bool)
    listed = set(paths.values())
    others = [] if source.set else [path for path in images.paths.values() if path not in listed]
    return boxes[keep].reset_index(drop=True), paths, others


def _listed(root: Path, source: Voc) -> list[str]:
    """Return the names of the annotations to read: those that the set lists, or all there are."""
    folder = root / source.annotations
    if not folder.is_dir():
        raise KitError(folder, "there is no such folder", "It should hold one XML file per image")
    there = sorted(path.stem for path in folder.iterdir() if path.suffix.lower() == ".xml")
    if not there:
        raise KitError(folder, "holds no XML file", "One per image, as Pascal VOC writes them")
    if source.set is None:
        return there
    names = read_set(root / source.set)
    known = set(there)
    missing = [name for name in names if name not in known]
    if missing:
        raise KitError(
            root / source.set,
            f"{len(missing)} of {len(names)} images have no XML file in {source.annotations}/ "
            f"({first_few(missing)})",
            "Every listed image is annotated",
        )
    return names


def read_set(path: Path) -> list[str]:
    """Return the image names that a set file lists, one a line.

    Raises:
        KitError: It is missing, empty, or names an image twice.
    """
    if not path.is_file():
        raise KitError(path, "there is no such file", "A set lists image names, one a line")
    names = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if not names or twice:
        what = f"{len(twice)} images are listed twice ({first_few(twice)})" if twice else "is empty"
        raise KitError(path, what, "A set lists image names, one a line")
    return names


def _read_all(folder: Path, names: Sequence[str]) -> dict[str, Annotation]:
    found: dict[str, Annotation] = {}
    problems: list[str] = []
    for name in names:
        try:
            found[name] = read_annotation(folder / f"{name}.xml")
        except BadAnnotationError as error:
            problems.append(f"{name}.xml: {error}")
    _refuse(folder, problems, "XML files cannot be read", "Each is a Pascal VOC annotation", "Mend them.")
    return found


def read_annotation(path: Path) -> Annotation:
    """Return what an XML file says. Entities are never resolved: a file that declares any is refused.

    Raises:
        BadAnnotationError: It does not parse, declares a document type, or a box is not four numbers.
    """
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import parse

    try:
        tree = parse(str(path), forbid_dtd=True).getroot()
    except DefusedXmlException as error:
        raise BadAnnotationError("declares a document type or entities, which kit never resolves") from error
    except (ParseError, ValueError, LookupError, OSError) as error:
        raise BadAnnotationError(f"does not parse: {error}") from error
    if tree is None or tree.tag != "annotation":
        raise NoAnnotationError("is no <annotation>")
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
        raise BadAnnotationError(f"<{place}> is {text!r}, no number") from error


def _find_images(folder: Path, annotations: dict[str, Annotation], images: ImageFolder) -> dict[str, str]:
    """Return name -> path: the image called like the XML file, or else the one that it names.

    Tools that rename files often leave the old name inside the XML, so the file's own name counts first.
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
    what = f"XML files have no image in {images.folder}/"
    _refuse(
        folder, problems, what, "Each belongs to an image", "Add the images, or leave them out of the set."
    )
    return found


def _size(annotation: Annotation, path: Path) -> tuple[int, int]:
    """Return the image's size as the XML says, or where it is silent, as the image's header does."""
    if min(annotation.size) > 0:
        return annotation.size
    try:
        return header_size(path)
    except UnreadableImageError:
        return UNKNOWN_SIZE  # the scan names it, with all the others


def _possible(boxes: pd.DataFrame, folder: Path, rules: VocConfig) -> pd.DataFrame:
    """Return the boxes that lie in their image and have an area, as the rules treat the others."""
    outside = (boxes["xmin"] < 0) | (boxes["ymin"] < 0)
    outside |= (boxes["xmax"] > boxes["width"]) | (boxes["ymax"] > boxes["height"])
    flat = (boxes["xmax"] <= boxes["xmin"]) | (boxes["ymax"] <= boxes["ymin"])
    bad = boxes[outside | flat]
    if rules.bad_boxes == "refuse":
        _refuse(
            folder,
            [f"{row.image}.xml object {row.number}" for row in bad.itertuples()],
            "boxes lie outside their image or have no area",
            "A box is inside its image",
            "Mend them, or set `competition.voc.bad_boxes: skip` to leave them out.",
        )
    return boxes[~(outside | flat)]


def _refuse(where: Path, problems: list[str], what: str, rule: str, next_step: str) -> None:
    if problems:
        raise KitError(where, f"{len(problems)} {what} ({first_few(problems)})", rule, next_step)

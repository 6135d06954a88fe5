"""The layout ``voc``: boxes in Pascal VOC's XML, as labels of their image or as crops."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pandas as pd

from kit.competition.images.files import image_id
from kit.competition.layouts.base import (
    BOX,
    HELD_OUT_WORDS,
    Detection,
    Finding,
    Hints,
    LabeledImages,
    LabeledPart,
    Layout,
    images_table,
    register_layout,
    with_classes,
)
from kit.competition.layouts.voc_boxes import (
    BadAnnotationError,
    Boxes,
    NoAnnotationError,
    Voc,
    read_annotation,
    read_boxes,
    read_set,
)
from kit.competition.survey import Survey
from kit.competition.words import has_word
from kit.config import CompetitionConfig, VocConfig
from kit.errors import KitError, counted, first_few
from kit.natural import natural_key

UBIQUITOUS = 0.95  # a class on more than this share of images is almost useless as a label of images


@register_layout("voc")
class VocLayout(Layout[Voc]):
    """Read and detect XML annotations.

    The id of an image is its name without suffix, that of a crop ``<image>#<number>``; the crops of one image
    are a group.
    """

    description = "boxes in Pascal VOC's XML"
    section = Voc

    def read(self, root: Path, source: Voc, config: CompetitionConfig) -> LabeledImages:
        """Return one row per image with its classes, or one per box: ``id path label group`` and the box."""
        boxes, paths, others = read_boxes(root, source, config.voc)
        unlisted = images_table({image_id(PurePosixPath(path).name, "stem"): path for path in others})
        if config.voc.as_ == "crops":
            numbered = boxes["image"] + "#" + boxes["number"].astype(str)
            crops = pd.DataFrame({"id": numbered, "path": boxes["path"], "label": boxes["label"]}, dtype=str)
            return LabeledImages(
                pd.concat([crops, boxes[BOX]], axis=1).assign(group=boxes["image"]), unlisted
            )
        samples = images_table(paths)
        images_with = {str(name): set(images) for name, images in boxes.groupby("label")["image"]}
        names = sorted(images_with, key=natural_key)
        block = {name: samples["id"].isin(images_with[name]).astype("int8") for name in names}
        return LabeledImages(with_classes(samples, pd.DataFrame(block), root / source.annotations), unlisted)

    def detect(self, survey: Survey, hints: Hints) -> Detection | None:
        """Detect XML annotations: in a folder of their own with sets, or beside the images of each part."""
        folders = {f: xml for f, xml in survey.xml.items() if _is_voc(survey.root / f / f"{xml[0]}.xml")}
        images = {f: found for f in folders if (found := _image_folder(survey, f, folders[f])) is not None}
        if not images:
            return None
        folder = next((f for f in images if not has_word(f, *HELD_OUT_WORDS)), next(iter(images)))
        parts = {
            "train" if f == folder else PurePosixPath(f).name: Voc(
                layout=self.name, folder=images[f], annotations=f
            )
            for f in [folder, *(f for f in images if f != folder)]
        }
        if len(parts) == 1:
            parts = _parts_by_set(survey, parts["train"], set(folders[folder]))
        boxes, remarks = _read_parts(survey.root, parts)
        as_crops, why = _crops_or_images(boxes["train"][0], len(boxes["train"][1]))
        labeled = {
            name: _part(part, *boxes[name][:2], as_crops, len(folders.get(part.annotations, [])))
            for name, part in parts.items()
        }
        remarks.insert(0, Finding("competition.voc.as", "crops" if as_crops else "images", why))
        grouped = "the boxes of one image are a group" if as_crops else ""
        return Detection(labeled.pop("train"), labeled, remarks, grouped)


def _is_voc(path: Path) -> bool:
    try:
        read_annotation(path)
    except NoAnnotationError:
        return False
    except BadAnnotationError:
        return True  # a damaged annotation
    return True


def _image_folder(survey: Survey, xml: str, names: Sequence[str]) -> str | None:
    """Return the folder with most images named like the XML files: their own, or the smallest."""
    wanted = set(names)
    hits = {
        folder: len(wanted & {str(PurePosixPath(image).with_suffix("")) for image in images})
        for folder, images in survey.images.items()
    }
    best = max(hits.values(), default=0)
    if best == 0:
        return None
    return xml if hits.get(xml) == best else next(f for f in reversed(list(hits)) if hits[f] == best)


def _parts_by_set(survey: Survey, whole: Voc, known: set[str]) -> dict[str, Voc]:
    """Return the parts that set files such as ``ImageSets/Main/trainval.txt`` list, or one part."""
    sets: dict[str, str] = {}
    for folder, names in survey.lists.items():
        for name in names:
            path = f"{folder}/{name}.txt"
            if name in ("train", "trainval", "val", "test") and _lists_known(survey.root / path, known):
                sets[name] = path
    if not {"train", "trainval"} & set(sets):
        return {"train": whole}
    parts = {"train": whole.model_copy(update={"set": sets.get("trainval") or sets["train"]})}
    for name in ("val", "test"):
        if name in sets and not (name == "val" and "trainval" in sets):
            parts[name] = whole.model_copy(update={"set": sets[name]})
    return parts


def _lists_known(path: Path, known: set[str]) -> bool:
    try:
        return bool(set(read_set(path)) & known)
    except (KitError, UnicodeDecodeError):
        return False


def _read_parts(root: Path, parts: dict[str, Voc]) -> tuple[dict[str, Boxes], list[Finding]]:
    """Return the boxes of every part, and a finding if invalid boxes must be skipped."""
    boxes, problems = {}, []
    for name, part in parts.items():
        try:
            boxes[name] = read_boxes(root, part, VocConfig())
        except KitError as error:
            boxes[name] = read_boxes(root, part, VocConfig(bad_boxes="skip"))  # raises again for other errors
            problems.append(error.problem)
    if not problems:
        return boxes, []
    return boxes, [Finding("competition.voc.bad_boxes", "skip", f"{'; '.join(problems)}: skipped")]


def _crops_or_images(boxes: pd.DataFrame, images: int) -> tuple[bool, str]:
    shares = boxes.groupby("label")["image"].nunique() / images
    common = [str(name) for name in shares.index[shares > UBIQUITOUS]]
    if not common:
        return (
            False,
            f"{counted(len(boxes), 'box labels', 'boxes label')} {counted(images, 'image')}; crops: "
            "one sample per box",
        )
    return True, f"nearly every image has {first_few(common)}: classify boxes; images: one sample per image"


def _part(part: Voc, boxes: pd.DataFrame, paths: dict[str, str], as_crops: bool, xml: int) -> LabeledPart:
    source = [
        Finding("layout", part.layout, f"{xml} XML files in {part.annotations}/ describe boxes"),
        Finding("folder", part.folder, f"the folder of the images of {part.annotations}/"),
        Finding(
            "annotations",
            part.annotations,
            f"{counted(len(paths), 'image')} with {counted(len(boxes), 'box', 'boxes')}",
        ),
    ]
    if part.set is not None:
        source.append(Finding("set", part.set, f"lists {counted(len(paths), 'image')}"))
    if as_crops:
        return LabeledPart(source, part.folder, boxes[["label"]])
    having = pd.crosstab(boxes["image"], boxes["label"]).clip(upper=1)
    return LabeledPart(source, part.folder, having.reindex(list(paths), fill_value=0))

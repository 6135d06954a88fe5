"""Which layout a competition folder has: one recogniser each, with the evidence it goes by."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from kit.competition.label_columns import LabelColumns, one_each
from kit.competition.layouts import split_labels
from kit.competition.survey import Survey, Table, is_called
from kit.competition.tables import column
from kit.competition.voc import (
    BadAnnotationError,
    Boxes,
    NoAnnotationError,
    read_annotation,
    read_boxes,
    read_set,
)
from kit.config import Voc, VocConfig
from kit.errors import KitError, first_few
from kit.natural import natural_key
from kit.registry import Registry

HELD_OUT_WORDS = ("val", "valid", "validation", "dev", "test", "holdout", "eval")
EVERYWHERE = 0.95  # of the images have a class: as a label of whole images it says next to nothing


class Finding(NamedTuple):
    """One line of the config to be: its key, its value, and why."""

    key: str
    value: Any
    because: str


@dataclass(frozen=True)
class Labelled:
    """Some labelled images: what the config says of their source, and what is known of them.

    Attributes:
        source: Findings whose keys are those of a ``LabelledSource``.
        labels: ``label``, or one 0/1 column per class; one row per sample.
        table: The table that holds the labels, if one does.
    """

    source: list[Finding]
    folder: str
    labels: pd.DataFrame
    table: Table | None = None

    def under(self, key: str) -> list[Finding]:
        """Return the findings under ``competition.train`` or another key."""
        return [Finding(f"{key}.{f.key}", f.value, f.because) for f in self.source]


@dataclass(frozen=True)
class Recognised:
    """What a layout was recognised to be.

    Attributes:
        held_out: Name -> further labelled images.
        remarks: Findings beside the sources, such as what boxes become.
        grouped: Why samples are in groups, if they are.
    """

    train: Labelled
    held_out: dict[str, Labelled] = field(default_factory=dict)
    remarks: list[Finding] = field(default_factory=list)
    grouped: str = ""
    ordinal: str = ""


Recogniser = Callable[[Survey, str | None], Recognised | None]
recognisers: Registry[Recogniser] = Registry("layout")  # in the order in which they are asked


def recognise(survey: Survey, label: str | None, layout: str | None) -> Recognised:
    """Return the first layout that is recognised, or the one asked for.

    Args:
        label: The label column, where the tables leave it open.
        layout: Take this layout and no other.

    Raises:
        KitError: There is none, or ``layout`` is not what lies there.
    """
    asked = [recognisers.get(layout, "--layout")] if layout else [recognisers.get(n) for n in recognisers]
    for recogniser in asked:
        found = recogniser(survey, label)
        if found is not None:
            return found
    read = [f"{name}: {why}" for name, why in survey.ignored.items()]
    raise KitError(
        survey.root / survey.prefix,
        (f"is not laid out as {layout}" if layout else "has no labels that kit recognises")
        + (f" (tables that say nothing: {first_few(read)})" if read else ""),
        "Labels come from train/<class>/*.jpg, from a CSV with a column of image names, from a text file of "
        "ids per class, or from Pascal VOC's XML",
    )


# --- Pascal VOC ------------------------------------------------------------------------------------------


@recognisers.register("voc")
def recognise_voc(survey: Survey, label: str | None) -> Recognised | None:
    """Recognise XML annotations: in a folder of their own with sets, or beside the images of each part."""
    folders = {f: names for f, names in survey.xml.items() if _is_voc(survey.root / f / f"{names[0]}.xml")}
    pairs = {f: images for f in folders if (images := _images_of(survey, f, folders[f])) is not None}
    if not pairs:
        return None
    folder = next((f for f in pairs if not is_called(f, *HELD_OUT_WORDS)), next(iter(pairs)))
    parts = {"train": Voc(layout="voc", folder=pairs[folder], annotations=folder)}
    parts |= {
        PurePosixPath(f).name: Voc(layout="voc", folder=pairs[f], annotations=f) for f in pairs if f != folder
    }
    if len(parts) == 1:
        parts = _by_set(survey, parts["train"], set(folders[folder]))
    boxes, bad = _read_parts(survey.root, parts)
    as_crops, why = _crops_or_images(boxes["train"][0], len(boxes["train"][1]))
    labelled = {
        name: _voc_labels(part, *boxes[name][:2], as_crops, len(folders.get(part.annotations, [])))
        for name, part in parts.items()
    }
    remarks = [Finding("competition.voc.as", "crops" if as_crops else "images", why), *bad]
    train = labelled.pop("train")
    return Recognised(train, labelled, remarks, "boxes of one image are a group" if as_crops else "")


def _is_voc(path: Path) -> bool:
    try:
        read_annotation(path)
    except NoAnnotationError:
        return False
    except BadAnnotationError:
        return True  # a damaged one is an annotation all the same
    return True


def _images_of(survey: Survey, xml: str, names: Sequence[str]) -> str | None:
    """Return the folder whose images are called like most of the XML files: their own, or the smallest."""
    wanted = set(names)
    hits = {
        folder: len(wanted & {str(PurePosixPath(image).with_suffix("")) for image in images})
        for folder, images in survey.images.items()
    }
    best = max(hits.values(), default=0)
    if best == 0:
        return None
    return xml if hits.get(xml) == best else next(f for f in reversed(list(hits)) if hits[f] == best)


def _by_set(survey: Survey, whole: Voc, known: set[str]) -> dict[str, Voc]:
    """Return the parts that set files such as ``ImageSets/Main/trainval.txt`` make, or all as one."""
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
    """Return the boxes of every part, with a finding if impossible ones had to be left out."""
    boxes, problems = {}, []
    for name, part in parts.items():
        try:
            boxes[name] = read_boxes(root, part, VocConfig())
        except KitError as error:
            boxes[name] = read_boxes(root, part, VocConfig(bad_boxes="skip"))  # raises again if not for boxes
            problems.append(error.problem)
    if not problems:
        return boxes, []
    return boxes, [Finding("competition.voc.bad_boxes", "skip", f"{'; '.join(problems)}: left out")]


def _crops_or_images(boxes: pd.DataFrame, images: int) -> tuple[bool, str]:
    shares = boxes.groupby("label")["image"].nunique() / images
    common = [str(name) for name in shares.index[shares > EVERYWHERE]]
    if not common:
        return False, f"{len(boxes)} boxes say what is on {images} images; crops: one sample per box"
    return True, f"nearly every image has {first_few(common)}: only its boxes tell; images: one sample each"


def _voc_labels(part: Voc, boxes: pd.DataFrame, paths: dict[str, str], as_crops: bool, xml: int) -> Labelled:
    source = [
        Finding("layout", "voc", f"{xml} XML files in {part.annotations}/ describe boxes"),
        Finding("folder", part.folder, f"where the images of {part.annotations}/ lie"),
        Finding("annotations", part.annotations, f"{len(paths)} images with {len(boxes)} boxes"),
    ]
    if part.set is not None:
        source.append(Finding("set", part.set, f"lists {len(paths)} images"))
    if as_crops:
        return Labelled(source, part.folder, boxes[["label"]])
    having = pd.crosstab(boxes["image"], boxes["label"]).clip(upper=1)
    return Labelled(source, part.folder, having.reindex(list(paths), fill_value=0))


# --- one file of ids per class ---------------------------------------------------------------------------


@recognisers.register("id_lists")
def recognise_id_lists(survey: Survey, label: str | None) -> Recognised | None:
    """Recognise a folder of text files, each with the ids of one class, and the images those ids mean."""
    for folder, names in survey.lists.items():
        lists = {name: _ids_in(survey.root / folder / f"{name}.txt") for name in names}
        if len(lists) < 2 or not all(lists.values()):
            continue
        listed = {i for ids in lists.values() for i in ids}
        found = _image_pattern(survey, listed)
        if found is not None:
            return _id_lists(survey, folder, {n: set(ids) for n, ids in lists.items()}, *found)
    return None


def _ids_in(path: Path) -> list[str]:
    """Return the ids of a file with one per line, or nothing if it holds something else."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError:
        return []
    return lines if all(line.isdecimal() for line in lines) else []


def _image_pattern(survey: Survey, ids: set[str]) -> tuple[str, str, int] | None:
    """Return the folder, the pattern and the number of images by which most ids mean an image."""
    best: tuple[int, str, str, int] = (0, "", "", 0)
    for folder, images in survey.images.items():
        numbered = [re.fullmatch(r"(\D*)(\d+)(\D*)", PurePosixPath(name).name) for name in images]
        by_pattern: dict[str, set[str]] = {}
        for match in filter(None, numbered):
            by_pattern.setdefault(f"{match[1]}{{id}}{match[3]}", set()).add(match[2])
        for pattern, there in by_pattern.items():
            best = max(best, (len(ids & there), folder, pattern, len(there)))
    hits, folder, pattern, count = best
    return (folder, pattern, count) if hits > len(ids) / 2 else None


def _id_lists(
    survey: Survey, lists: str, classes: dict[str, set[str]], folder: str, pattern: str, count: int
) -> Recognised:
    named = sorted(set().union(*classes.values()), key=natural_key)
    labels = pd.DataFrame(
        {n: [int(i in classes[n]) for i in named] for n in sorted(classes, key=natural_key)}
    )
    source = [
        Finding("layout", "id_lists", f"{len(classes)} files such as {lists}/{min(classes)}.txt list ids"),
        Finding("folder", folder, f"{count} images called like {pattern}"),
        Finding("lists", lists, f"name {len(named)} images"),
        Finding("pattern", pattern, f"{pattern.replace('{id}', named[0])} is the image of id {named[0]}"),
    ]
    unlisted = count - len(named)
    why = "negative if they have none of the classes, unlabelled if nobody looked, or ignore"
    ask = Finding("competition.unlisted", "refuse", f"{unlisted} of {count} images are in no list: say {why}")
    return Recognised(Labelled(source, folder, labels), remarks=[ask] if unlisted else [])


# --- tables ----------------------------------------------------------------------------------------------


@recognisers.register("csv")
def recognise_tables(survey: Survey, label: str | None) -> Recognised | None:
    """Recognise a table of images and labels; further ones with the same columns are held out."""
    tables = [
        t
        for t in survey.tables
        if t.others and not t.repeats and not is_called(t.name, "sample", "submission", "solution")
    ]
    labelled = [t for t in tables if not is_called(t.name, *HELD_OUT_WORDS)]
    if not labelled:
        return None
    table = next((t for t in labelled if is_called(t.name, "train")), labelled[0])
    columns = LabelColumns.of(table, label)
    train = _from_table(table, columns)
    held_out = {}
    for other in tables:
        names = [columns.chosen] if isinstance(columns.chosen, str) else columns.chosen
        if other is not table and other.folder != table.folder and set(names) <= set(other.others):
            part = _from_table(other, columns)
            if (part.labels.to_numpy() != -1).all() and _classes(part.labels) <= _classes(train.labels):
                name = next(w for w in (*HELD_OUT_WORDS, "more") if w == "more" or is_called(other.name, w))
                held_out[name] = part
    grouped = f"column '{columns.group}' names groups" if columns.group else ""
    return Recognised(train, held_out, [], grouped, columns.ordinal)


def _classes(labels: pd.DataFrame) -> set[str]:
    return set(labels["label"]) if "label" in labels else set(map(str, labels.columns))


def _from_table(table: Table, columns: LabelColumns) -> Labelled:
    style = "with" if table.ids == "name" else "without"
    rows = f"{table.matched} of {len(table.cells)} values are images in {table.folder}/"
    source = [
        Finding("layout", "csv", f"{table.name} names images and their labels"),
        Finding("folder", table.folder, f"where the images of {table.name} lie"),
        Finding("file", table.name, f"{len(table.cells)} rows"),
        Finding("id", table.id, rows),
        Finding("ids", table.ids, f"ids are file names {style} ending"),
        Finding("label", columns.chosen, columns.because),
    ]
    if columns.separator is not None:
        source.append(Finding("separator", columns.separator, "between the classes of a cell"))
    for key, name, why in (
        ("group", columns.group, "what it names stays on one side of every split"),
        ("fold", columns.fold, "the organisers' own folds: for folds.scheme column"),
    ):
        if name is not None:
            source.append(Finding(key, name, why))
    return Labelled(source, table.folder, _labels_in(table, columns), table)


def _labels_in(table: Table, columns: LabelColumns) -> pd.DataFrame:
    if isinstance(columns.chosen, list):
        numbers = table.cells[columns.chosen].apply(pd.to_numeric, errors="coerce")
        block: pd.DataFrame = numbers.fillna(-1).astype("int8")
        if one_each(block):
            names = np.array(columns.chosen, dtype=object)[block.to_numpy().argmax(axis=1)]
            return pd.DataFrame({"label": names}, dtype=str)
        return block
    cells = column(table.cells, columns.chosen, Path(table.name), "label", "allowed")
    return split_labels(cells, columns.separator) if columns.separator else cells.to_frame("label")


# --- class folders ---------------------------------------------------------------------------------------


@recognisers.register("class_folders")
def recognise_class_folders(survey: Survey, label: str | None) -> Recognised | None:
    """Recognise a folder per class; further ones with the same classes are held out."""
    folders = {f: names for f, names in survey.class_folders.items() if _are_classes(names)}
    trains = [f for f in folders if not is_called(f, *HELD_OUT_WORDS)]
    if not trains:
        return None
    folder = next((f for f in trains if is_called(f, "train")), trains[0])
    held_out = {
        next(word for word in HELD_OUT_WORDS if is_called(f, word)): _from_folders(survey, f)
        for f, names in folders.items()
        if f not in trains and len(set(names) & set(folders[folder])) > len(names) / 2
    }
    return Recognised(_from_folders(survey, folder), held_out)


def _are_classes(names: Sequence[str]) -> bool:
    """Tell whether folders may be classes: two at least, and not the parts of a competition."""
    return len(names) > 1 and not any(is_called(name, "train", *HELD_OUT_WORDS, "images") for name in names)


def _from_folders(survey: Survey, folder: str) -> Labelled:
    names = sorted(survey.class_folders[folder], key=natural_key)
    found = survey.images[folder]
    labels = pd.DataFrame({"label": [image.split("/")[0] for image in found]}, dtype=str)
    numbered = all(name.isdecimal() for name in names)
    order = "in natural order, 2 before 10" if numbered else "in natural order"
    because = f"{len(found)} images in {len(names)} folders: one class per folder, {order}"
    source = [
        Finding("layout", "class_folders", because),
        Finding("folder", folder, f"holds folders such as {', '.join(names[:3])}"),
    ]
    return Labelled(source, folder, labels)

"""How competitions lay out their labelled images: one reader each, from folder to samples."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from kit.competition.files import ImageFolder, image_id, list_folders, list_images
from kit.competition.tables import column, line_numbers, read_table, unique_ids
from kit.competition.voc import BOX, read_boxes
from kit.config import ClassFolders, CompetitionConfig, IdLists, LabelTable, Voc
from kit.errors import KitError, first_few
from kit.natural import natural_key
from kit.registry import Registry

UNKNOWN = -1  # in a 0/1 column: nobody has said whether the image has the class
BLANK_CLASS = ""  # likewise in the one column of an exclusive task


@dataclass(frozen=True)
class Reading:
    """What a layout says.

    Attributes:
        samples: ``id path``, and ``label`` or one 0/1 column per class; perhaps ``group``, ``given_fold``,
            and for crops ``xmin ymin xmax ymax``.
        unlisted: ``id path`` of the images of the folder that it says nothing of.
    """

    samples: pd.DataFrame
    unlisted: pd.DataFrame = field(default_factory=lambda: images_table({}))

    @property
    def classes(self) -> list[str]:
        """The classes that occur, in natural order."""
        return classes_in(self.samples)


PLAIN_COLUMNS = ("id", "path", "label", "group", "given_fold", "source", *BOX)
# A source is one of the sections of `kit.config.LabelledSource`: its layout says which, and who reads it.
Reader = Callable[[Path, Any, CompetitionConfig], Reading]
layouts: Registry[Reader] = Registry("layout")


def classes_in(samples: pd.DataFrame) -> list[str]:
    """Return the classes that samples name, in natural order."""
    if "label" in samples:
        return sorted(set(samples["label"]) - {BLANK_CLASS}, key=natural_key)
    return sorted((str(c) for c in samples.columns if c not in PLAIN_COLUMNS), key=natural_key)


def images_table(paths: dict[str, str]) -> pd.DataFrame:
    """Return id -> path as a table ``id path``."""
    return pd.DataFrame({"id": list(paths), "path": list(paths.values())}, dtype=str)


def with_classes(samples: pd.DataFrame, block: pd.DataFrame, where: object) -> pd.DataFrame:
    """Return samples beside their 0/1 columns, refusing a class called like another column of theirs."""
    taken = [name for name in block.columns if name in (*PLAIN_COLUMNS, "fold")]
    if taken:
        raise KitError(
            where,
            f"{len(taken)} classes are called like columns of kit's own tables ({first_few(taken)})",
            f"Names taken: {', '.join(PLAIN_COLUMNS)}, fold",
            "Rename them.",
        )
    return pd.concat([samples, block], axis=1)


@layouts.register("class_folders")
def read_class_folders(root: Path, source: ClassFolders, config: CompetitionConfig) -> Reading:
    """Return ``id path label`` of ``<folder>/<class>/*``; an id is the path below the folder."""
    folder = root / source.folder
    if not folder.is_dir():
        raise KitError(folder, "there is no such folder", "It should hold one folder per class")
    names = list_images(root, source.folder)
    labelled = [name for name in names if "/" in name]
    if not labelled:
        raise KitError(folder, "holds no class folder with images", "One folder per class, images inside")
    labels = [name.split("/", 1)[0] for name in labelled]
    found = set(labels)
    empty = [name for name in list_folders(folder) if name not in found]
    if empty:
        raise KitError(
            folder,
            f"{len(empty)} class folders hold no image ({first_few(empty)})",
            "A class needs images",
            "Fill or remove them.",
        )
    below = PurePosixPath(source.folder)
    samples = images_table({name: str(below / name) for name in labelled}).assign(label=labels)
    return Reading(samples, images_table({name: str(below / name) for name in names if "/" not in name}))


@layouts.register("csv")
def read_csv_labels(root: Path, source: LabelTable, config: CompetitionConfig) -> Reading:
    """Return ``id path`` and the labels that a table holds, with its groups and folds where it has them."""
    path = root / source.file
    table = read_table(path)
    if table.empty:
        raise KitError(path, "has a header and no rows", "One row per labelled image")
    ids = unique_ids(column(table, source.id, path, "id"), path)
    images = ImageFolder.open(root, source.folder, source.ids)
    samples = pd.DataFrame({"id": ids, "path": images.find(ids, path)}, dtype=str)
    labels = _labels(table, source, path, config)
    for name, chosen in (("group", source.group), ("given_fold", source.fold)):
        if chosen is not None:
            samples[name] = column(table, chosen, path, name)
    if isinstance(labels, pd.DataFrame):
        samples = with_classes(samples, labels, path)
    else:
        samples["label"] = labels
    _refuse_contradicting_folders(samples, source, path)
    listed = set(samples["path"])
    return Reading(samples, images_table({i: p for i, p in images.paths.items() if p not in listed}))


def _labels(
    table: pd.DataFrame, source: LabelTable, path: Path, config: CompetitionConfig
) -> pd.Series | pd.DataFrame:
    if isinstance(source.label, list):
        return _zero_one_block(table, source.label, path, config)
    blanks = "allowed" if config.blank == "unlabelled" or source.separator is not None else ""
    remedy = blanks or "Fill them, or set `competition.blank: unlabelled`: such rows are then not trained on."
    cells = column(table, source.label, path, "label", remedy)
    if source.separator is None:
        return cells.mask(cells.str.strip() == "", BLANK_CLASS)
    return split_labels(cells, source.separator)


def split_labels(cells: pd.Series, separator: str) -> pd.DataFrame:
    """Return one 0/1 column per class named in cells such as ``scab rust``; a blank cell has none."""
    split = cells.str.strip().str.split(separator if separator.strip() else None, regex=False)
    named = split.explode().str.strip()
    named = named[named != ""].dropna()
    counts = pd.crosstab(named.index, named).reindex(cells.index, fill_value=0)
    zero_one: pd.DataFrame = counts.clip(upper=1).astype("int8").rename_axis(columns=None, index=None)
    return zero_one


def _zero_one_block(
    table: pd.DataFrame, names: list[str], path: Path, config: CompetitionConfig
) -> pd.DataFrame:
    """Return 0/1 columns. Rows that are blank or -1 throughout are unlabelled, if the config says so."""
    block = pd.DataFrame({name: column(table, name, path, "label", "allowed") for name in names})
    known = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "True": 1, "False": 0, "true": 1, "false": 0}
    numbers = block.apply(lambda cells: cells.str.strip().map(known))
    silent = block.isin(["", "-1"]).all(axis=1)
    if config.blank == "unlabelled":
        numbers[silent] = UNKNOWN
    odd = numbers.isna().to_numpy()
    if odd.any():
        row, col = (int(where[0]) for where in odd.nonzero())
        lines = first_few(line_numbers(odd.any(axis=1)))
        raise KitError(
            path,
            f"column '{names[col]}' holds '{block.iloc[row, col]!s}' in line {row + 2}; "
            f"{odd.any(axis=1).sum()} rows hold such (lines {lines})",
            "With several label columns each is 0 or 1",
            "Set `competition.blank: unlabelled` if all-blank or all -1 rows have no label."
            if silent.any()
            else "",
        )
    zero_one: pd.DataFrame = numbers.astype("int8")
    return zero_one


def _refuse_contradicting_folders(samples: pd.DataFrame, source: LabelTable, path: Path) -> None:
    """Refuse a table that says otherwise than the class folders which its images lie in."""
    if "label" not in samples:
        return
    depth = len(PurePosixPath(source.folder).parts)
    folders = samples["path"].map(lambda p: (PurePosixPath(p).parts[depth:-1] or ("",))[0])
    if not set(samples["label"]) <= set(folders) | {BLANK_CLASS} or folders.nunique() < 2:
        return  # the folders are not the classes
    odd = samples[(samples["label"] != folders) & (samples["label"] != BLANK_CLASS)]
    if len(odd):
        named = [f"{row.path} is '{row.label}'" for row in odd.itertuples()]
        raise KitError(
            path,
            f"{len(odd)} labels contradict the class folders of {source.folder}/ ({first_few(named)})",
            "Two sources of labels must agree",
            "Mend one of them: layout class_folders takes the folders, layout csv the table.",
        )


@layouts.register("id_lists")
def read_id_lists(root: Path, source: IdLists, config: CompetitionConfig) -> Reading:
    """Return ``id path`` and one 0/1 column per file of ids; images that no file names are unlisted."""
    folder = root / source.lists
    files = sorted(folder.glob("*.txt"), key=lambda p: natural_key(p.name)) if folder.is_dir() else []
    if not files:
        raise KitError(folder, "holds no file of ids", "One file per class, <class>.txt, one id a line")
    lists = {file.stem: file.read_text(encoding="utf-8-sig").split() for file in files}
    twice = [f"{i} of {name}" for name, ids in lists.items() for i, n in Counter(ids).items() if n > 1]
    if twice:
        raise KitError(folder, f"{len(twice)} ids occur more than once ({first_few(twice)})", "Each id once")
    paths = _ids_by_pattern(root, source)
    missing = [f"{i} of {name}" for name, ids in lists.items() for i in ids if i not in paths]
    if missing:
        raise KitError(
            folder,
            f"{len(missing)} ids have no image {source.pattern} in {source.folder}/ ({first_few(missing)})",
            "Every id means an image",
            "Add the images, remove the ids, or set competition.train.pattern.",
        )
    named = sorted({i for ids in lists.values() for i in ids}, key=natural_key)
    samples = images_table({i: paths[i] for i in named})
    block = {name: samples["id"].isin(set(ids)).astype("int8") for name, ids in lists.items()}
    samples = with_classes(samples, pd.DataFrame(block), folder)
    listed = set(named)
    return Reading(samples, images_table({i: p for i, p in paths.items() if i not in listed}))


def _ids_by_pattern(root: Path, source: IdLists) -> dict[str, str]:
    """Return id -> path of the images whose file name follows the pattern."""
    before, after = (re.escape(part) for part in source.pattern.split("{id}"))
    pattern = re.compile(f"{before}(.+){after}")
    images = ImageFolder.open(root, source.folder, "name")
    matches = ((pattern.fullmatch(PurePosixPath(name).name), path) for name, path in images.paths.items())
    return {match[1]: path for match, path in matches if match}


@layouts.register("voc")
def read_voc(root: Path, source: Voc, config: CompetitionConfig) -> Reading:
    """Return one row per image with its classes, or one per box: ``id path label group`` and the box.

    The id of an image is its name without ending, that of a box ``<image>#<number>``; crops of one image are
    a group.
    """
    boxes, paths, others = read_boxes(root, source, config.voc)
    unlisted = images_table({image_id(PurePosixPath(path).name, "stem"): path for path in others})
    if config.voc.as_ == "crops":
        numbered = boxes["image"] + "#" + boxes["number"].astype(str)
        crops = pd.DataFrame({"id": numbered, "path": boxes["path"], "label": boxes["label"]}, dtype=str)
        return Reading(pd.concat([crops, boxes[BOX]], axis=1).assign(group=boxes["image"]), unlisted)
    samples = images_table(paths)
    images_with = {str(name): set(images) for name, images in boxes.groupby("label")["image"]}
    names = sorted(images_with, key=natural_key)
    block = {name: samples["id"].isin(images_with[name]).astype("int8") for name in names}
    return Reading(with_classes(samples, pd.DataFrame(block), root / source.annotations), unlisted)

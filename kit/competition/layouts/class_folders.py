"""The layout ``class_folders``: one folder per class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated

import pandas as pd
from pydantic import Field

from kit.competition.images.files import list_folders, list_images, paths_below
from kit.competition.layouts.base import (
    HELD_OUT_WORDS,
    Detection,
    Finding,
    Hints,
    LabeledImages,
    LabeledPart,
    Layout,
    images_table,
    register_layout,
)
from kit.competition.survey import Survey
from kit.competition.words import has_word
from kit.config import CompetitionConfig, LabeledSource
from kit.errors import KitError, counted, first_few
from kit.natural import natural_key

MIN_IMAGES_PER_CLASS = 5  # folders with fewer images, on average, may be studies or products


class ClassFolders(LabeledSource):
    """Labeled images in ``<folder>/<class>/*``."""

    folder: str = "train"
    """The folder of the class folders."""
    depth: Annotated[int, Field(ge=1, le=5)] = 1
    """How many levels of folders name the class; 2: class `Birds/owl` in `train/Birds/owl/`."""
    names: Annotated[list[str], Field(min_length=2)] | None = None
    """The class folders, if `folder` holds other folders, too; null: every folder in it."""


@register_layout("class_folders")
class ClassFoldersLayout(Layout[ClassFolders]):
    """Read and detect one folder per class; an id is the path below the folder."""

    description = "One folder of images per class: train/<class>/*.jpg"
    section = ClassFolders

    def read(self, root: Path, source: ClassFolders, config: CompetitionConfig) -> LabeledImages:
        """Return ``id path label`` of ``<folder>/<class>/*``; ``depth`` folders name a class."""
        folder = root / source.folder
        if not folder.is_dir():
            rule = "It should hold one folder per class"
            raise KitError(folder, "there is no such folder", rule, code="folder_missing")
        names = list_images(root, source.folder)
        if source.names is not None:
            names = [name for name in names if name.split("/")[0] in source.names]
        labeled = [name for name in names if name.count("/") >= source.depth]
        if not labeled:
            raise KitError(
                folder,
                "has no class folder with images",
                "It should hold one folder per class, with images inside",
                code="no_class_folder",
            )
        labels = [_class_of(name, source.depth) for name in labeled]
        folders = _folders_at(folder, source.depth) if source.names is None else source.names
        found = set(labels)
        empty = [name for name in folders if name not in found]
        if empty:
            raise KitError(
                folder,
                f"{len(empty)} class folders have no image ({first_few(empty)})",
                "Every class needs images",
                "Fill or remove the folders.",
                code="class_folder_empty",
            )
        samples = images_table(paths_below(source.folder, labeled)).assign(label=labels)
        others = [name for name in names if name.count("/") < source.depth]
        return LabeledImages(samples, images_table(paths_below(source.folder, others)))

    def detect(self, survey: Survey, hints: Hints) -> Detection | None:
        """Detect a folder per class; further folders with the same classes are held out."""
        folders = {f: names for f, names in survey.class_folders.items() if _are_classes(names)}
        nested = _nested_folders(survey)
        if nested:
            return self._detect_nested(survey, nested[0], hints)
        trains = [f for f in folders if not has_word(f, *HELD_OUT_WORDS)]
        if not trains:
            return self._detect_beside_test(survey)
        folder = next((f for f in trains if has_word(f, "train")), trains[0])
        held_out = {
            next(word for word in HELD_OUT_WORDS if has_word(f, word)): self._part(survey, f)
            for f, names in folders.items()
            if f not in trains and len(set(names) & set(folders[folder])) > len(names) / 2
        }
        return Detection(self._part(survey, folder), held_out)

    def _detect_nested(self, survey: Survey, folder: str, hints: Hints) -> Detection:
        """Return the reading of a folder whose images all lie two folders deeper."""
        found = survey.images[folder]
        outer, inner = ({_class_of(name, depth) for name in found} for depth in (1, 2))
        inner_names = {name.split("/")[1] for name in found}
        if len(inner_names) == 1:
            return Detection(self._part(survey, folder, hints.depth or 1))
        is_clear = len(inner_names) == len(inner) and len(found) >= MIN_IMAGES_PER_CLASS * len(inner)
        if hints.depth is None and not is_clear:
            raise KitError(
                survey.root / folder,
                f"has two levels of folders: {len(outer)} such as {min(outer)}, and below them {len(inner)} "
                f"such as {min(inner)}",
                "One level names the class; kit does not guess which",
                "Choose one: `kit init DATA --depth 1` or `kit init DATA --depth 2`.",
                code="class_level_open",
            )
        return Detection(self._part(survey, folder, hints.depth or 2))

    def _detect_beside_test(self, survey: Survey) -> Detection | None:
        """Return the reading of class folders beside a folder of test images."""
        for folder, names in survey.class_folders.items():
            classes = [name for name in names if not has_word(name, *HELD_OUT_WORDS)]
            if len(classes) < len(names) and _are_classes(classes):
                return Detection(self._part(survey, folder, only=classes))
        return None

    def _part(
        self, survey: Survey, folder: str, depth: int = 1, only: Sequence[str] | None = None
    ) -> LabeledPart:
        """Return the labeled images of class folders; ``only``: of these."""
        found = [n for n in survey.images[folder] if only is None or n.split("/")[0] in only]
        labels = pd.DataFrame({"label": [_class_of(image, depth) for image in found]}, dtype=str)
        names = sorted(set(labels["label"]), key=natural_key)
        numbered = all(name.isdecimal() for name in names)
        order = "in natural order, 2 before 10" if numbered else "in natural order"
        because = (
            f"{counted(len(found), 'image')} in {counted(len(names), 'folder')}: one class per folder, "
            f"{order}"
        )
        source = [
            Finding("layout", self.name, because),
            Finding("folder", folder, f"has folders such as {', '.join(names[:3])}"),
        ]
        if depth > 1:
            source.append(
                Finding("depth", depth, f"{depth} levels of folders name the class; 1: the outer folders")
            )
        if only is None:
            return LabeledPart(source, folder, labels)
        others = [name for name in survey.class_folders[folder] if name not in only]
        source.append(Finding("names", list(only), f"the class folders, beside {first_few(others)}"))
        return LabeledPart(source, folder, labels, folders=tuple(_below(folder, name) for name in only))


def _below(folder: str, name: str) -> str:
    return str(PurePosixPath(folder) / name)


def _class_of(name: str, depth: int) -> str:
    """Return the class of an image: the first folders of its path."""
    return "/".join(name.split("/")[:depth])


def _folders_at(folder: Path, depth: int) -> list[str]:
    """Return the folders that many levels below a folder, as paths, in natural order."""
    names = list_folders(folder)
    if depth == 1:
        return names
    return [f"{name}/{below}" for name in names for below in _folders_at(folder / name, depth - 1)]


def _nested_folders(survey: Survey) -> list[str]:
    """Return the folders whose images all lie two folders deeper, in folders that may be classes."""
    found = [
        folder
        for folder, names in survey.images.items()
        if {name.count("/") for name in names} == {2}
        and _are_classes(list(dict.fromkeys(name.split("/")[0] for name in names)))
        and not has_word(folder, *HELD_OUT_WORDS)
    ]
    return sorted(found, key=lambda folder: not has_word(folder, "train"))


def _are_classes(names: Sequence[str]) -> bool:
    """Return whether folders may be classes: at least two, and none named train, test or images."""
    return len(names) > 1 and not any(has_word(name, "train", *HELD_OUT_WORDS, "images") for name in names)

"""The layout ``class_folders``: one folder per class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pandas as pd

from kit.competition.files import list_folders, list_images
from kit.competition.layouts.base import (
    HELD_OUT_WORDS,
    Detection,
    Finding,
    LabeledImages,
    LabeledPart,
    Layout,
    images_table,
    register_layout,
)
from kit.competition.survey import Survey, has_word
from kit.config import CompetitionConfig, LabeledSource
from kit.errors import KitError, first_few
from kit.natural import natural_key


class ClassFolders(LabeledSource):
    """Labeled images in ``<folder>/<class>/*``."""

    folder: str = "train"
    """The folder of the class folders."""


@register_layout("class_folders")
class ClassFoldersLayout(Layout[ClassFolders]):
    """Read and detect one folder per class; an id is the path below the folder."""

    description = "One folder of images per class: train/<class>/*.jpg"
    section = ClassFolders

    def read(self, root: Path, source: ClassFolders, config: CompetitionConfig) -> LabeledImages:
        """Return ``id path label`` of ``<folder>/<class>/*``."""
        folder = root / source.folder
        if not folder.is_dir():
            rule = "It should hold one folder per class"
            raise KitError(folder, "there is no such folder", rule, code="folder_missing")
        names = list_images(root, source.folder)
        labeled = [name for name in names if "/" in name]
        if not labeled:
            raise KitError(
                folder,
                "has no class folder with images",
                "It should hold one folder per class, with images inside",
                code="no_class_folder",
            )
        labels = [name.split("/", 1)[0] for name in labeled]
        empty = [name for name in list_folders(folder) if name not in set(labels)]
        if empty:
            raise KitError(
                folder,
                f"{len(empty)} class folders have no image ({first_few(empty)})",
                "Every class needs images",
                "Fill or remove the folders.",
                code="class_folder_empty",
            )
        below = PurePosixPath(source.folder)
        samples = images_table({name: str(below / name) for name in labeled}).assign(label=labels)
        return LabeledImages(
            samples, images_table({name: str(below / name) for name in names if "/" not in name})
        )

    def detect(self, survey: Survey, label: str | None) -> Detection | None:
        """Detect a folder per class; further folders with the same classes are held out."""
        folders = {f: names for f, names in survey.class_folders.items() if _are_classes(names)}
        trains = [f for f in folders if not has_word(f, *HELD_OUT_WORDS)]
        if not trains:
            return None
        folder = next((f for f in trains if has_word(f, "train")), trains[0])
        held_out = {
            next(word for word in HELD_OUT_WORDS if has_word(f, word)): self._part(survey, f)
            for f, names in folders.items()
            if f not in trains and len(set(names) & set(folders[folder])) > len(names) / 2
        }
        return Detection(self._part(survey, folder), held_out)

    def _part(self, survey: Survey, folder: str) -> LabeledPart:
        names = sorted(survey.class_folders[folder], key=natural_key)
        found = survey.images[folder]
        labels = pd.DataFrame({"label": [image.split("/")[0] for image in found]}, dtype=str)
        numbered = all(name.isdecimal() for name in names)
        order = "in natural order, 2 before 10" if numbered else "in natural order"
        because = f"{len(found)} images in {len(names)} folders: one class per folder, {order}"
        source = [
            Finding("layout", self.name, because),
            Finding("folder", folder, f"has folders such as {', '.join(names[:3])}"),
        ]
        return LabeledPart(source, folder, labels)


def _are_classes(names: Sequence[str]) -> bool:
    """Return whether folders may be classes: at least two, and none named train, test or images."""
    return len(names) > 1 and not any(has_word(name, "train", *HELD_OUT_WORDS, "images") for name in names)

"""The layout ``file_names``: the label is a part of the file name."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Annotated

import pandas as pd
from pydantic import AfterValidator

from kit.competition.images.files import ImageFolder
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
from kit.config.competition import with_one_group
from kit.errors import KitError, counted, first_few
from kit.natural import natural_key
from kit.tasks import LABEL

# Tried in this order; the label is the group. A file name is without its folders.
PATTERNS = (
    r"^([^\W\d_][^\d]*?)[ ._-]*\d+[.][^.]+$",  # cat.0.jpg, cat_12.jpg, great_dane_7.png
    r"^\d+[ ._-]+([^\W\d_].*?)[.][^.]+$",  # 0_cat.jpg, 00012-dog.png
)
MIN_IMAGES_PER_CLASS = 2  # on average; a name per image is no class


def _is_pattern(pattern: str) -> str:
    return with_one_group(pattern, r"the label, such as ^([a-z]+)[.]\d+")


class FileNames(LabeledSource):
    """Labeled images whose file names contain their labels, such as ``cat.12.jpg``."""

    folder: str = "train"
    """The folder of the images."""
    pattern: Annotated[str, AfterValidator(_is_pattern)]
    """A regular expression whose group, found in the file name, is the label."""


@register_layout("file_names")
class FileNamesLayout(Layout[FileNames]):
    """Read and detect labels in file names."""

    description = "labels in the file names: train/cat.12.jpg"
    section = FileNames

    def read(self, root: Path, source: FileNames, config: CompetitionConfig) -> LabeledImages:
        """Return ``id path label`` of the images whose names have a label; the others are unlisted."""
        paths = ImageFolder.open(root, source.folder, "name").paths
        labels = {name: _label_of(name, source.pattern) for name in paths}
        labeled = {name: path for name, path in paths.items() if labels[name] is not None}
        if not labeled:
            raise KitError(
                "competition.train.pattern",
                f"{source.pattern} finds no label in {source.folder}/ ({first_few(list(paths)[:2])})",
                "The group of the regular expression finds the label in a file name",
                code="pattern_mismatch",
            )
        others = {name: path for name, path in paths.items() if labels[name] is None}
        samples = images_table(labeled).assign(**{LABEL: [str(labels[name]) for name in labeled]})
        return LabeledImages(samples, images_table(others))

    def detect(self, survey: Survey, hints: Hints) -> Detection | None:
        """Detect a folder whose file names all follow one pattern, with several images per label."""
        patterns = PATTERNS if hints.label_pattern is None else (_is_pattern(hints.label_pattern),)
        folders = [f for f in survey.images if not has_word(f, *HELD_OUT_WORDS, "predict")]
        for folder in sorted(folders, key=lambda f: (not has_word(f, "train"), f.count("/"))):
            for pattern in patterns:
                labels = [_label_of(name, pattern) for name in survey.images[folder]]
                if _are_labels(labels):
                    return Detection(self._part(folder, pattern, [str(label) for label in labels]))
        return None

    def _part(self, folder: str, pattern: str, labels: list[str]) -> LabeledPart:
        names = sorted(set(labels), key=natural_key)
        because = f"each of {len(labels)} file names in {folder}/ has one of {counted(len(names), 'label')}"
        source = [
            Finding("layout", self.name, because),
            Finding("folder", folder, f"labels such as {', '.join(names[:3])}"),
            Finding("pattern", pattern, "a regular expression: its group is the label in the file name"),
        ]
        return LabeledPart(source, folder, pd.DataFrame({LABEL: labels}, dtype=str))


def _label_of(name: str, pattern: str) -> str | None:
    """Return the label in a file name; None if the pattern does not find one."""
    match = re.search(pattern, name.rsplit("/", 1)[-1])
    return match[1] if match and match[1] else None


def _are_labels(labels: list[str | None]) -> bool:
    """Return whether every name has a label, and the labels are at least two with several images each."""
    counts = Counter(labels)
    return None not in counts and 2 <= len(counts) <= len(labels) / MIN_IMAGES_PER_CLASS

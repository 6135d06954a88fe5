"""What lies in a competition folder: image folders, class folders, and tables that name images."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from kit.competition.files import (
    TABLE_SUFFIXES,
    IdStyle,
    image_id,
    is_image,
    list_folders,
    list_images,
    read_table,
    shares,
)
from kit.errors import KitError

ID_STYLES: tuple[IdStyle, ...] = ("name", "stem")
TEST_TABLES = ("test", "sample", "submission", "solution")
MATCHED = (
    0.9  # a column whose values are image ids this often is meant as ids; the reader then tells the gaps
)


@dataclass(frozen=True)
class Table:
    """A table of the competition folder, and the image folder that one of its columns names."""

    name: str
    cells: pd.DataFrame
    id: str
    ids: IdStyle
    folder: str
    matched: int

    @property
    def others(self) -> list[str]:
        """The columns beside the id."""
        return [str(c) for c in self.cells.columns if c != self.id]


@dataclass
class Survey:
    """What lies in a competition folder."""

    root: Path
    prefix: str
    images: dict[str, list[str]]
    class_folders: dict[str, list[str]]
    tables: list[Table]
    ignored: list[str] = field(default_factory=list)


def survey_folder(root: Path) -> Survey:
    """List the folder, going down while it holds nothing but one folder (an archive's own)."""
    if not root.is_dir():
        raise KitError(root, "there is no such folder", "DATA is the folder of a competition")
    prefix = ""
    while (only := _only_folder(root / prefix)) is not None:
        prefix = f"{prefix}{only}/"
    images: dict[str, list[str]] = {}
    class_folders: dict[str, list[str]] = {}
    for folder in list_folders(root / prefix):
        found = list_images(root / prefix / folder)
        inside = [name for name in found if "/" in name]
        if found and len(inside) == len(found):
            class_folders[prefix + folder] = list_folders(root / prefix / folder)
        if found:
            images[prefix + folder] = found
    if not images:
        raise KitError(
            root / prefix if prefix else root,
            "holds no folder with images",
            "A competition folder has train images in folders per class or with a CSV, and test images",
        )
    survey = Survey(root, prefix, images, class_folders, [])
    for path in sorted((root / prefix).iterdir()):
        if path.suffix.lower() in TABLE_SUFFIXES:
            _add_table(survey, path)
    return survey


def _only_folder(folder: Path) -> str | None:
    entries = [e for e in folder.iterdir() if not e.name.startswith(".") and e.name != "__MACOSX"]
    files = [e for e in entries if e.is_file()]
    folders = [e for e in entries if e.is_dir()]
    has_data = any(is_image(e.name) or e.suffix.lower() in TABLE_SUFFIXES for e in files)
    if has_data or len(folders) != 1 or is_called(folders[0].name, "train", "test"):
        return None
    if not list_folders(folders[0]):
        return None
    return folders[0].name


def _add_table(survey: Survey, path: Path) -> None:
    name = survey.prefix + path.name
    try:
        cells = read_table(path)
    except KitError:
        survey.ignored.append(name)
        return
    candidates = [
        Table(name, cells, str(col), style, folder, sum(value in known for value in cells[col]))
        for folder, images in survey.images.items()
        for style in ID_STYLES
        for known in [frozenset(image_id(image, style) for image in images)]
        for col in cells.columns
        if shares(list(cells[col]), known) >= MATCHED
    ]
    if candidates:
        survey.tables.append(max(candidates, key=lambda table: _fit(table, survey)))
    else:
        survey.ignored.append(name)


def _fit(table: Table, survey: Survey) -> tuple[int, bool, float]:
    """Return how well a table fits its folder: ids found, names that agree, share of the folder it covers.

    Where ids begin at 0 in both folders, a table matches either, and only the latter two can tell.
    """
    of_test = is_called(table.name, *TEST_TABLES)
    agrees = is_called(table.folder, "test") == of_test
    return table.matched, agrees, table.matched / len(survey.images[table.folder])


def is_called(name: str, *words: str) -> bool:
    """Tell whether a word of the name begins with one of ``words``: so does ``testset``, not ``contest``."""
    parts = re.findall(r"[a-z]+", Path(name).name.lower())
    return any(part.startswith(words) for part in parts)


def image_sizes(root: Path, limit: int = 100) -> list[int]:
    """Return the shorter side in pixels of up to ``limit`` images spread over the folder; headers only."""
    from PIL import Image, UnidentifiedImageError

    names = list_images(root)
    sides = []
    for name in names[:: max(1, len(names) // limit)][:limit]:
        try:
            with Image.open(root / name) as image:
                sides.append(min(image.size))
        except (OSError, UnidentifiedImageError, Image.DecompressionBombError):
            continue  # kit inspect names it; here it only does not count
    return sides

"""Reading folders and tables the way competitions write them: names in natural order, cells as text."""

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import pandas as pd

from kit.errors import KitError, first_few

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}
)
TABLE_SUFFIXES = frozenset({".csv", ".tsv"})
_NUMBER = re.compile(r"(\d+)")

IdStyle = Literal["name", "stem"]


def natural_key(text: str) -> tuple[tuple[tuple[int, int | str], ...], str]:
    """Return a sort key under which ``2`` comes before ``10`` and ``img9`` before ``img10``."""
    parts = tuple((0, int(p)) if p.isdecimal() else (1, p) for p in _NUMBER.split(text) if p)
    return parts, text


def is_image(name: str) -> bool:
    """Tell whether a file is an image by its ending, whatever its case."""
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES


def list_images(folder: Path) -> list[str]:
    """Return the images below ``folder``, paths relative to it with ``/``, in natural order.

    Hidden files and folders (``.DS_Store``, ``._1.jpg``, ``__MACOSX``) are passed over.
    """
    found: list[str] = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not _is_hidden(name)]
        below = PurePosixPath(Path(parent).relative_to(folder).as_posix())
        found.extend(str(below / name) for name in files if is_image(name) and not _is_hidden(name))
    return sorted(found, key=natural_key)


def list_folders(folder: Path) -> list[str]:
    """Return the names of the folders directly in ``folder``, in natural order, hidden ones left out."""
    names = [entry.name for entry in os.scandir(folder) if entry.is_dir() and not _is_hidden(entry.name)]
    return sorted(names, key=natural_key)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def read_table(path: Path) -> pd.DataFrame:
    """Return a CSV (or, by its ending, TSV) as text: nothing is parsed, so ``007`` stays ``007``.

    Raises:
        KitError: The file is missing, empty, not UTF-8, or its rows differ in length.
    """
    if not path.is_file():
        raise KitError(path, "there is no such file")
    separator = "\t" if path.suffix.lower() == ".tsv" else ","
    try:
        table = pd.read_csv(path, sep=separator, dtype=str, na_filter=False, encoding="utf-8-sig")
    except pd.errors.EmptyDataError as error:
        raise KitError(path, "is empty", "Its first line names the columns") from error
    except UnicodeDecodeError as error:
        raise KitError(
            path, f"is not UTF-8 (byte {error.start})", "Tables are UTF-8 text", "Save it as UTF-8."
        ) from error
    except pd.errors.ParserError as error:
        raise KitError(
            path, f"is not a table: {error}", "Every row has as many cells as the header"
        ) from error
    if not isinstance(table.index, pd.RangeIndex):
        raise KitError(path, "its rows have more cells than its header", "Every column needs a name")
    return table


def column(table: pd.DataFrame, name: str, path: Path, key: str) -> pd.Series:
    """Return one column of a table; a missing one, or a blank cell in it, is a KitError."""
    if name not in table:
        known = ", ".join(map(str, table.columns))
        raise KitError(path, f"has no column '{name}' ({key})", f"Its columns: {known}", f"Set {key}.")
    cells = table[name]
    blank = cells.str.strip() == ""
    if blank.any():
        line = int(blank.to_numpy().argmax()) + 2
        raise KitError(path, f"column '{name}' is blank in {blank.sum()} rows (first: line {line})")
    return cells


def unique_ids(ids: pd.Series, path: Path) -> pd.Series:
    """Return the ids unchanged, refusing one that occurs twice."""
    if ids.duplicated().any():
        twice = ids[ids.duplicated()].unique()
        raise KitError(
            path, f"{len(twice)} ids occur more than once ({first_few(list(twice))})", "One row per id"
        )
    return ids


@dataclass(frozen=True)
class ImageFolder:
    """The images of one folder, found by id.

    Attributes:
        folder: Relative to the competition's root, with ``/``.
        paths: id -> path relative to the competition's root.
    """

    folder: str
    paths: dict[str, str]

    @classmethod
    def open(cls, root: Path, folder: str, ids: IdStyle) -> "ImageFolder":
        """List ``root/folder``; ids are the files' names below it (``name``), or without ending (``stem``).

        Raises:
            KitError: There is no such folder, no image in it, or two images share a stem.
        """
        if not (root / folder).is_dir():
            raise KitError(root / folder, "there is no such folder", "It should hold the images")
        names = list_images(root / folder)
        if not names:
            kinds = " ".join(sorted(IMAGE_SUFFIXES))
            raise KitError(root / folder, "holds no image", f"Images are files ending in {kinds}")
        keys = [image_id(name, ids) for name in names]
        shared = [key for key, count in Counter(keys).items() if count > 1]
        if shared:
            raise KitError(
                root / folder,
                f"{len(shared)} ids mean more than one file without their ending ({first_few(shared)})",
                next_step="Use `ids: name` with ids that carry the ending.",
            )
        below = PurePosixPath(folder)
        return cls(folder, {key: str(below / name) for key, name in zip(keys, names, strict=True)})

    def find(self, ids: pd.Series, listed_in: Path) -> list[str]:
        """Return the path of every id's image.

        Raises:
            KitError: An id has no image.
        """
        missing = [i for i in ids if i not in self.paths]
        if missing:
            example = next(iter(self.paths))
            raise KitError(
                listed_in,
                f"{len(missing)} of {len(ids)} ids have no image in {self.folder}/ ({first_few(missing)})",
                f"Ids there look like '{example}'",
                "Add the images, remove the rows, or set `ids: name` (with ending) or `ids: stem` (without).",
            )
        return [self.paths[i] for i in ids]


def image_id(name: str, ids: IdStyle) -> str:
    """Return the id of an image from its name below its folder."""
    return name if ids == "name" else str(PurePosixPath(name).with_suffix(""))


def shares(values: Sequence[str], known: frozenset[str] | set[str]) -> float:
    """Return which share of ``values`` is ``known``; 0 for no values."""
    return sum(value in known for value in values) / len(values) if len(values) else 0.0

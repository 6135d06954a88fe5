"""What lies in a competition folder: images, class folders, tables that name images, XML, lists of ids."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import pandas as pd

from kit.competition.files import (
    IdStyle,
    image_id,
    is_hidden,
    is_image,
    list_folders,
    list_images,
    loose_ids,
)
from kit.competition.tables import TABLE_SUFFIXES, read_table
from kit.errors import KitError

ID_STYLES: tuple[IdStyle, ...] = ("name", "stem")
TEST_TABLES = ("test", "sample", "submission", "solution")
MATCHED = (
    0.9  # a column whose values are image ids this often is meant as ids; the reader then tells the gaps
)
PROBED = 200  # rows that are looked up first: a column of other things is seen through at once
FEW_FOLDERS = 10  # a folder with more folders inside has one per class, not one per part
DEPTH = 3  # of folders in which tables, XML and lists are looked for


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

    @property
    def repeats(self) -> bool:
        """Whether an image has several rows, so that they are not its labels."""
        return bool(self.cells[self.id].duplicated().any())


@dataclass
class Survey:
    """What lies in a competition folder; every path is relative to ``root``.

    Attributes:
        prefix: The archive's own folder, with a closing ``/``, or nothing.
        images: Folder -> its images, paths below it.
        class_folders: Folder whose images all lie in folders of their own -> those.
        xml: Folder -> names of its XML files, without ending.
        lists: Folder -> names of its text files, without ending.
        ignored: Table -> why nothing was made of it.
    """

    root: Path
    prefix: str
    images: dict[str, list[str]]
    class_folders: dict[str, list[str]]
    tables: list[Table] = field(default_factory=list)
    xml: dict[str, list[str]] = field(default_factory=dict)
    lists: dict[str, list[str]] = field(default_factory=dict)
    ignored: dict[str, str] = field(default_factory=dict)


def survey_folder(root: Path) -> Survey:
    """List the folder, going down while it holds nothing but one folder (an archive's own)."""
    if not root.is_dir():
        raise KitError(root, "there is no such folder", "DATA is the folder of a competition")
    prefix = ""
    while (only := _only_folder(root / prefix)) is not None:
        prefix = f"{prefix}{only}/"
    images = _image_folders(root, prefix)
    if not images:
        raise KitError(
            root / prefix if prefix else root,
            "holds no image",
            "A competition folder has train images in folders per class or with a CSV, and test images",
        )
    survey = Survey(root, prefix, images, _class_folders(images))
    known = {(f, s): _known_ids(names, s) for f, names in images.items() for s in ID_STYLES}
    for name in _files_near(root, prefix):
        path = PurePosixPath(name)
        if path.suffix.lower() in TABLE_SUFFIXES:
            _add_table(survey, name, known)
        elif path.suffix.lower() == ".xml":
            survey.xml.setdefault(str(path.parent), []).append(path.stem)
        elif path.suffix.lower() == ".txt":
            survey.lists.setdefault(str(path.parent), []).append(path.stem)
    return survey


def _only_folder(folder: Path) -> str | None:
    entries = [e for e in folder.iterdir() if not is_hidden(e.name)]
    files = [e for e in entries if e.is_file()]
    folders = [e for e in entries if e.is_dir()]
    has_data = any(is_image(e.name) or e.suffix.lower() in TABLE_SUFFIXES for e in files)
    if has_data or len(folders) != 1 or is_called(folders[0].name, "train", "test"):
        return None
    if not list_folders(folders[0]):
        return None
    return folders[0].name


def _image_folders(root: Path, prefix: str) -> dict[str, list[str]]:
    """Return the folders whose images a table or layout may mean: the top one, its folders, and theirs.

    A folder that holds others as a class folder does is not divided further.
    """
    top = prefix.rstrip("/") or "."
    everything = list_images(root, top)
    folders = {top: everything} if everything else {}
    for depth in (1, 2):
        parts: dict[str, list[str]] = {}
        for name in everything:
            pieces = name.split("/")
            if len(pieces) > depth:
                parts.setdefault("/".join(pieces[:depth]), []).append("/".join(pieces[depth:]))
        inside: dict[str, int] = {}
        for part in parts:
            parent = str(PurePosixPath(part).parent)
            inside[parent] = inside.get(parent, 0) + 1
        for part, names in parts.items():
            if depth == 1 or inside[str(PurePosixPath(part).parent)] <= FEW_FOLDERS:
                folders[prefix + part] = names
    return folders


def _class_folders(images: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return the folders in which every image lies in a folder of its own class: those inside, in order."""
    found = {}
    for folder, names in images.items():
        depths = {name.count("/") for name in names}
        if depths == {1}:
            found[folder] = list(dict.fromkeys(name.split("/")[0] for name in names))
    return found


def _files_near(root: Path, prefix: str) -> Iterator[str]:
    """Yield the tables, XML and text files below the top folder, in order of their names."""
    wanted = {*TABLE_SUFFIXES, ".xml", ".txt"}
    found = []
    for parent, folders, files in os.walk(root / prefix):
        below = Path(parent).relative_to(root)
        depth = len(below.parts) - len(PurePosixPath(prefix).parts)
        folders[:] = sorted(name for name in folders if not is_hidden(name)) if depth < DEPTH else []
        found += [
            (depth, (below / name).as_posix())
            for name in files
            if not is_hidden(name) and PurePosixPath(name).suffix.lower() in wanted
        ]
    yield from (name for _, name in sorted(found))


def _add_table(survey: Survey, name: str, known: dict[tuple[str, IdStyle], set[str]]) -> None:
    try:
        cells = read_table(survey.root / name)
    except KitError as error:
        survey.ignored[name] = error.problem
        return
    candidates = [
        Table(name, cells, str(col), style, folder, matched)
        for (folder, style), ids in known.items()
        for col in cells.columns
        for matched in [_matches(list(cells[col]), ids)]
        if matched
    ]
    if candidates:
        survey.tables.append(max(candidates, key=lambda table: _fit(table, survey)))
    else:
        survey.ignored[name] = "no column names images"


def _known_ids(images: Sequence[str], style: IdStyle) -> set[str]:
    ids = [image_id(name, style) for name in images]
    return {*ids, *(alias for i in ids for alias in loose_ids(i))}


def _matches(values: list[str], known: set[str]) -> int:
    """Return how many values are image ids, or 0 if they are too few to be meant as such."""

    def hits(some: list[str]) -> int:
        return sum(value in known or loose_ids(value)[0] in known for value in some)

    if not values or hits(values[:PROBED]) < MATCHED * len(values[:PROBED]):
        return 0
    found = hits(values)
    return found if found >= MATCHED * len(values) else 0


def _fit(table: Table, survey: Survey) -> tuple[int, bool, float]:
    """Return how well a table fits its folder: ids found, names that agree, share of the folder it covers.

    Where ids begin at 0 in both folders, a table matches either, and only the latter two can tell.
    """
    of_test = is_called(table.name, *TEST_TABLES)
    agrees = is_called(table.folder, "test") == of_test
    return table.matched, agrees, table.matched / len(survey.images[table.folder])


def is_called(name: str, *words: str) -> bool:
    """Tell whether a word of the name begins with one of ``words``: so does ``testset``, not ``contest``."""
    parts = re.findall(r"[a-z]+", PurePosixPath(name).name.lower())
    return any(part.startswith(words) for part in parts)


def image_sizes(root: Path, limit: int = 100) -> list[int]:
    """Return the shorter side in pixels of up to ``limit`` images spread over the folder; headers only."""
    from kit.competition.decode import UnreadableImageError, header_size

    names = list_images(root)
    sides = []
    for name in names[:: max(1, len(names) // limit)][:limit]:
        try:
            sides.append(min(header_size(root / name)))
        except UnreadableImageError:
            continue  # kit inspect names it; here it only does not count
    return sides

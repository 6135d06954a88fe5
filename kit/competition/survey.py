"""List a competition folder: images, class folders, tables that name images, XML, lists of ids."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import pandas as pd

from kit.competition.decode import UnreadableImageError, header_size, is_image
from kit.competition.files import (
    ID_STYLES,
    IdStyle,
    image_id,
    is_hidden,
    list_folders,
    list_images,
    loose_ids,
)
from kit.competition.tables import TABLE_SUFFIXES, read_table
from kit.errors import KitError

TEST_TABLES = ("test", "sample", "submission", "solution")
MIN_MATCHED = 0.9  # share of a column's values that must be image ids; the reader reports the rest
PROBED_ROWS = 200  # checked first, to reject columns without ids quickly
MAX_PARTS = 10  # a folder with more subfolders has one per class, not one per part (train, test)
MAX_DEPTH = 3  # of the folders that are searched for tables, XML and lists


@dataclass(frozen=True)
class Table:
    """A table of the competition folder, one column of which names the images of a folder.

    Attributes:
        name: Relative to the competition's root.
        id: The column of ids.
        ids: Whether ids have the suffix of the file.
        folder: The folder of the images.
        matched: How many of its ids are images there.
    """

    name: str
    cells: pd.DataFrame
    id: str
    ids: IdStyle
    folder: str
    matched: int

    @property
    def others(self) -> list[str]:
        """The columns other than the id."""
        return [str(c) for c in self.cells.columns if c != self.id]

    @property
    def repeats(self) -> bool:
        """Whether an id has several rows; then the table does not hold one label per image."""
        return bool(self.cells[self.id].duplicated().any())


@dataclass
class Survey:
    """The content of a competition folder; every path is relative to ``root``.

    Attributes:
        prefix: The only folder in ``root``, as archives often have one, with a trailing ``/``; or "".
        images: Folder -> its images, paths below it.
        class_folders: Folder whose images all lie one folder deeper -> the names of those folders.
        xml: Folder -> names of its XML files, without suffix.
        lists: Folder -> names of its text files, without suffix.
        ignored: Table -> why it is not used.
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
    """Return the content of a folder; descend while it holds only one folder, as archives do."""
    if not root.is_dir():
        rule = "DATA is the folder of a competition"
        raise KitError(root, "there is no such folder", rule, code="folder_missing")
    prefix = ""
    while (only := _only_folder(root / prefix)) is not None:
        prefix = f"{prefix}{only}/"
    images = _image_folders(root, prefix)
    if not images:
        raise KitError(
            root / prefix if prefix else root,
            "has no image",
            "A competition folder has train images, in class folders or with a CSV, and test images",
            code="no_images",
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
    if has_data or len(folders) != 1 or has_word(folders[0].name, "train", "test"):
        return None
    if not list_folders(folders[0]):
        return None
    return folders[0].name


def _image_folders(root: Path, prefix: str) -> dict[str, list[str]]:
    """Return the folders that a table or layout may refer to: the top one, its folders, and theirs.

    A folder with more than ``MAX_PARTS`` folders holds class folders, and is not divided further.
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
            if depth == 1 or inside[str(PurePosixPath(part).parent)] <= MAX_PARTS:
                folders[prefix + part] = names
    return folders


def _class_folders(images: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return folder -> the class folders in it, for folders whose images all lie one folder deeper."""
    found = {}
    for folder, names in images.items():
        depths = {name.count("/") for name in names}
        if depths == {1}:
            found[folder] = list(dict.fromkeys(name.split("/")[0] for name in names))
    return found


def _files_near(root: Path, prefix: str) -> Iterator[str]:
    """Yield the tables, XML and text files below the top folder, by depth and name."""
    wanted = {*TABLE_SUFFIXES, ".xml", ".txt"}
    found = []
    for parent, folders, files in os.walk(root / prefix):
        below = Path(parent).relative_to(root)
        depth = len(below.parts) - len(PurePosixPath(prefix).parts)
        folders[:] = sorted(name for name in folders if not is_hidden(name)) if depth < MAX_DEPTH else []
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
        survey.tables.append(max(candidates, key=lambda table: _match_quality(table, survey)))
    else:
        survey.ignored[name] = "no column names images"


def _known_ids(images: Sequence[str], style: IdStyle) -> set[str]:
    ids = [image_id(name, style) for name in images]
    return {*ids, *(alias for i in ids for alias in loose_ids(i))}


def _matches(values: list[str], known: set[str]) -> int:
    """Return how many values are image ids, or 0 if too few are for a column of ids."""

    def hits(some: list[str]) -> int:
        return sum(value in known or loose_ids(value)[0] in known for value in some)

    if not values or hits(values[:PROBED_ROWS]) < MIN_MATCHED * len(values[:PROBED_ROWS]):
        return 0
    found = hits(values)
    return found if found >= MIN_MATCHED * len(values) else 0


def _match_quality(table: Table, survey: Survey) -> tuple[int, bool, float]:
    """Return how well a table fits its folder: matched ids, matching names, share of the folder covered.

    If ids start at 0 in both train and test, a table matches both; then only the last two values decide.
    """
    of_test = has_word(table.name, *TEST_TABLES)
    agrees = has_word(table.folder, "test") == of_test
    return table.matched, agrees, table.matched / len(survey.images[table.folder])


def has_word(name: str, *words: str) -> bool:
    """Return whether a word of a name starts with one of ``words``: ``testset`` does, ``contest`` not."""
    parts = re.findall(r"[a-z]+", PurePosixPath(name).name.lower())
    return any(part.startswith(words) for part in parts)


def image_sizes(root: Path, limit: int = 100) -> list[int]:
    """Return the shorter side in pixels of up to ``limit`` images spread over the folder, from headers."""
    names = list_images(root)
    sides = []
    for name in names[:: max(1, len(names) // limit)][:limit]:
        try:
            sides.append(min(header_size(root / name)))
        except UnreadableImageError:
            continue  # kit inspect reports it
    return sides

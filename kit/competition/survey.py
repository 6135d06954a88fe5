"""List a competition folder: images, class folders, tables that name images, XML, lists of ids."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import pandas as pd

from kit.competition.images.decode import UnreadableImageError, header_size, is_image
from kit.competition.images.files import is_hidden, list_files, list_folders, list_images
from kit.competition.tables.matching import ImageIds, Table, best_match
from kit.competition.tables.read import TABLE_SUFFIXES, read_table
from kit.competition.words import has_role, has_word
from kit.errors import KitError, counted, first_few

MAX_PARTS = 10  # a folder with more subfolders has one per class, not one per part (train, test)
MAX_DEPTH = 3  # of the folders that are searched for tables, XML and lists


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
        headers: Table -> its columns other than the id, also of tables that are not used.
        empty: Folders directly in the top folder that hold nothing.
        others: Suffix -> the files that are neither images, tables, XML nor text.
    """

    root: Path
    prefix: str
    images: dict[str, list[str]]
    class_folders: dict[str, list[str]]
    tables: list[Table] = field(default_factory=list)
    xml: dict[str, list[str]] = field(default_factory=dict)
    lists: dict[str, list[str]] = field(default_factory=dict)
    ignored: dict[str, str] = field(default_factory=dict)
    headers: dict[str, list[str]] = field(default_factory=dict)
    empty: list[str] = field(default_factory=list)
    others: dict[str, list[str]] = field(default_factory=dict)

    def unused(self, used: Collection[object]) -> list[str]:
        """Return one line for every table and image folder that is not used, and every kind of other file.

        Args:
            used: The values of the config.
        """
        read = {*TABLE_SUFFIXES, ".xml", ".txt"}
        lines = [f"{name}: {why}" for name, why in self.ignored.items() if name not in used]
        lines += [
            f"{table.name}: '{table.id}' names images of {table.folder}/, and no key of the config needs it"
            for table in self.tables
            if table.name not in used
        ]
        lines += self._unused_folders([PurePosixPath(value) for value in used if isinstance(value, str)])
        for suffix, names in sorted(self.others.items()):
            if suffix not in read:
                kind = f" *{suffix}" if suffix else " without suffix"
                lines.append(
                    f"{counted(len(names), 'file')}{kind}, such as {names[0]}: no image that kit can read"
                )
        return lines

    def _unused_folders(self, used: Collection[PurePosixPath]) -> list[str]:
        """Return one line for every folder of images that neither holds nor lies in a used one."""
        unused: list[PurePosixPath] = []
        for path in map(PurePosixPath, self.images):
            related = (*used, *unused)
            if not any(path.is_relative_to(each) or each.is_relative_to(path) for each in related):
                unused.append(path)
        images = {path: self.images[str(path)] for path in unused}
        return [
            f"{path}/: {counted(len(names), 'image')}, which no label and no key names"
            for path, names in images.items()
        ]

    @property
    def all_images(self) -> list[str]:
        """The paths of all images."""
        top = self.prefix.rstrip("/") or "."
        return [f"{self.prefix}{name}" for name in self.images.get(top, [])]

    def columns_of(self, *words: str) -> set[str]:
        """Return the columns other than the id of the tables whose names have one of some words."""
        return {name for table, names in self.headers.items() if has_role(table, *words) for name in names}


def survey_folder(root: Path, packed: Collection[str] = ()) -> Survey:
    """Return the content of a folder; descend while it holds only one folder, as archives do.

    Args:
        packed: Files that hold other files, such as archives, relative to ``root``; they are not read.

    Raises:
        KitError: The folder is missing or has no image, or a table has no header.
    """
    if not root.is_dir():
        rule = "DATA is the folder of a competition"
        raise KitError(root, "there is no such folder", rule, code="folder_missing")
    prefix = ""
    while (only := _only_folder(root / prefix)) is not None:
        prefix = f"{prefix}{only}/"
    everything, others = list_files(root, prefix.rstrip("/") or ".")
    images = _image_folders(everything, prefix)
    if not images:
        raise KitError(
            root / prefix if prefix else root,
            "has no image",
            "A competition folder has train images, in class folders or with a CSV, and test images",
            code="no_images",
        )
    survey = Survey(root, prefix, images, _class_folders(images))
    survey.empty = [f"{prefix}{n}" for n in list_folders(root / prefix) if not _has_files(root / prefix / n)]
    for name in (name for name in others if f"{prefix}{name}" not in packed):
        survey.others.setdefault(PurePosixPath(name).suffix.lower(), []).append(name)
    ids = ImageIds(images)
    for name in (name for name in _files_near(root, prefix) if name not in packed):
        path = PurePosixPath(name)
        if path.suffix.lower() in TABLE_SUFFIXES:
            _add_table(survey, name, ids)
        elif path.suffix.lower() == ".xml":
            survey.xml.setdefault(str(path.parent), []).append(path.stem)
        elif path.suffix.lower() == ".txt":
            survey.lists.setdefault(str(path.parent), []).append(path.stem)
            _add_text_list(survey, name, ids)
    return survey


def _has_files(folder: Path) -> bool:
    return any(not is_hidden(name) for _, _, files in os.walk(folder) for name in files)


def _only_folder(folder: Path) -> str | None:
    entries = [e for e in folder.iterdir() if not is_hidden(e.name)]
    files = [e for e in entries if e.is_file()]
    folders = [e for e in entries if e.is_dir()]
    has_data = any(is_image(e.name) or e.suffix.lower() in TABLE_SUFFIXES or _is_text_list(e) for e in files)
    if has_data or len(folders) != 1 or has_word(folders[0].name, "train", "test"):
        return None
    if not list_folders(folders[0]):
        return None
    return folders[0].name


def _is_text_list(file: Path) -> bool:
    """Return whether a text file holds an image and its label in every line."""
    try:
        return file.suffix.lower() == ".txt" and not read_table(file).empty
    except KitError:
        return False


def _image_folders(everything: list[str], prefix: str) -> dict[str, list[str]]:
    """Return the folders that a table or layout may refer to: the top one, its folders, and theirs.

    A folder with more than ``MAX_PARTS`` folders holds class folders, and is not divided further.
    """
    folders = {prefix.rstrip("/") or ".": everything} if everything else {}
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


def _add_table(survey: Survey, name: str, ids: ImageIds) -> None:
    try:
        cells = read_table(survey.root / name)
    except KitError as error:
        survey.ignored[name] = error.problem
        return
    _check_header(survey.root / name, cells, ids)
    table = best_match(name, cells, ids)
    if table is not None:
        if ids.names(table.id, table.folder, table.ids):
            raise _no_header(survey.root / name, table.id)
        survey.tables.append(table)
    else:
        survey.ignored[name] = _why_ignored(cells, survey)
    survey.headers[name] = table.others if table else [str(column) for column in cells.columns[1:]]


def _add_text_list(survey: Survey, name: str, ids: ImageIds) -> None:
    """Add a text file whose lines are an image and its label; other text is no table."""
    try:
        cells = read_table(survey.root / name)
    except KitError:
        return
    if (table := best_match(name, cells[["path"]], ids)) is not None:
        survey.tables.append(replace(table, cells=cells))
        survey.headers[name] = [str(column) for column in cells.columns[1:]]


def _check_header(path: Path, cells: pd.DataFrame, ids: ImageIds) -> None:
    """Refuse a table whose first line is data."""
    images = [str(column) for column in cells.columns if ids.is_image(str(column))]
    if images:
        raise _no_header(path, images[0])


def _no_header(path: Path, image: str) -> KitError:
    return KitError(
        path,
        f"has no header: its first line names the image '{image}'",
        "The first line of a table names the columns",
        "Add a first line, such as id,label.",
        code="header_missing",
    )


def _why_ignored(cells: pd.DataFrame, survey: Survey) -> str:
    """Return why a table names no images, with examples of both sides."""
    images = next(iter(survey.images.values()))
    ids = [] if cells.empty else list(cells.iloc[:2, 0])
    shown = f"'{cells.columns[0]}' has {first_few(ids)}; images are {first_few(images[:2])}"
    return f"no column names images: {shown}"


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

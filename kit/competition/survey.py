"""List a competition folder: images, class folders, tables that name images, XML, lists of ids."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePosixPath

import pandas as pd

from kit.competition.decode import UnreadableImageError, header_size, is_image
from kit.competition.files import (
    ID_STYLES,
    IdStyle,
    image_id,
    is_hidden,
    list_files,
    list_folders,
    list_images,
    loose_ids,
)
from kit.competition.id_rules import RuleIndex, rules_for
from kit.competition.tables import TABLE_SUFFIXES, read_table
from kit.errors import KitError, first_few

TEST_TABLES = ("test", "sample", "submission", "solution")
MIN_COVERED = 0.5  # share of a folder's images that ids must name if a rule is needed to see it
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
        rule: How ids and images are spelled differently, or "".
    """

    name: str
    cells: pd.DataFrame
    id: str
    ids: IdStyle
    folder: str
    matched: int
    rule: str = ""

    @property
    def others(self) -> list[str]:
        """The columns other than the id."""
        return [str(c) for c in self.cells.columns if c != self.id]

    @property
    def because(self) -> str:
        """The evidence that a column names images."""
        by_rule = f"; rule: {self.rule}" if self.rule else ""
        what = "folders of images" if self.ids == "folder" else "images"
        return f"{self.matched} of {len(self.cells)} values are {what} in {self.folder}/{by_rule}"

    @property
    def style(self) -> str:
        """What the ids are, for people."""
        return {
            "name": "ids are file names with suffix",
            "stem": "ids are file names without suffix",
            "folder": "an id is the folder of one or several images",
        }[self.ids]

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
    empty: list[str] = field(default_factory=list)
    others: dict[str, list[str]] = field(default_factory=dict)

    def remove_others(self, known: Collection[str]) -> None:
        """Remove files of which the user is told elsewhere from the files that kit cannot read."""
        kept = {suffix: [n for n in names if n not in known] for suffix, names in self.others.items()}
        self.others = {suffix: names for suffix, names in kept.items() if names}

    def unused(self, used: Collection[object]) -> list[str]:
        """Return one line for every table that is not used, and for every kind of file that kit cannot read.

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
        for suffix, names in sorted(self.others.items()):
            if suffix not in read:
                kind = f"files *{suffix}" if suffix else "files without suffix"
                lines.append(f"{len(names)} {kind}, such as {names[0]}: no image that kit can read")
        return lines

    @property
    def all_images(self) -> list[str]:
        """The paths of all images."""
        top = self.prefix.rstrip("/") or "."
        return [f"{self.prefix}{name}" for name in self.images.get(top, [])]

    def columns_of(self, *words: str) -> set[str]:
        """Return the columns other than the id of the tables whose names have one of some words."""
        return {column for table in self.tables if has_word(table.name, *words) for column in table.others}


def survey_folder(root: Path) -> Survey:
    """Return the content of a folder; descend while it holds only one folder, as archives do."""
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
    for name in others:
        survey.others.setdefault(PurePosixPath(name).suffix.lower(), []).append(name)
    ids = _ImageIds(images)
    for name in _files_near(root, prefix):
        path = PurePosixPath(name)
        if path.suffix.lower() in TABLE_SUFFIXES:
            _add_table(survey, name, ids)
        elif path.suffix.lower() == ".xml":
            survey.xml.setdefault(str(path.parent), []).append(path.stem)
        elif path.suffix.lower() == ".txt":
            survey.lists.setdefault(str(path.parent), []).append(path.stem)
    return survey


def _has_files(folder: Path) -> bool:
    return any(not is_hidden(name) for _, _, files in os.walk(folder) for name in files)


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


class _ImageIds:
    """The ids that tables may use for the images of each folder.

    Attributes:
        known: (folder, style) -> the ids of its images, in all plain spellings.
    """

    def __init__(self, images: dict[str, list[str]]) -> None:
        self.images = images
        self.known = {(f, s): _known_ids(names, s) for f, names in images.items() for s in ID_STYLES}

    @cache  # noqa: B019 - lives as long as the survey of one folder
    def by_rule(self, folder: str) -> RuleIndex:
        """Return the images of a folder under the rules for other spellings."""
        names = self.images[folder]
        return RuleIndex({name: name for name in names} | {f"{folder}/{name}": name for name in names})

    def is_image(self, text: str) -> bool:
        """Return whether a text is the name of an image, with suffix."""
        return any(text in ids for (_, style), ids in self.known.items() if style == "name")


def _add_table(survey: Survey, name: str, ids: _ImageIds) -> None:
    try:
        cells = read_table(survey.root / name)
    except KitError as error:
        survey.ignored[name] = error.problem
        return
    _check_header(survey.root / name, cells, ids)
    candidates = _plain_candidates(name, cells, ids) or _candidates_by_rule(name, cells, ids)
    if candidates:
        survey.tables.append(max(candidates, key=lambda table: _match_quality(table, survey)))
    else:
        survey.ignored[name] = _why_ignored(cells, survey)


def _check_header(path: Path, cells: pd.DataFrame, ids: _ImageIds) -> None:
    """Refuse a table whose first line is data."""
    images = [str(column) for column in cells.columns if ids.is_image(str(column))]
    if images:
        raise KitError(
            path,
            f"has no header: its first line names the image '{images[0]}'",
            "The first line of a table names the columns",
            "Add a first line, such as id,label.",
            code="header_missing",
        )


def _plain_candidates(name: str, cells: pd.DataFrame, ids: _ImageIds) -> list[Table]:
    """Return the readings of a table whose ids are spelled like the images, or like folders of images."""
    return [
        Table(name, cells, str(col), style, folder, matched)
        for (folder, style), known in ids.known.items()
        for col in cells.columns
        if style != "folder" or not cells[col].duplicated().any()
        for matched in [_matches(list(cells[col]), known)]
        if matched
    ]


def _candidates_by_rule(name: str, cells: pd.DataFrame, ids: _ImageIds) -> list[Table]:
    """Return the readings of a table whose ids meet the images by a rule.

    The ids must be those of half the folder or more: a list of classes has numbers, too.
    """
    unique = [
        col for col in cells.columns if not cells[col].duplicated().any() and rules_for(list(cells[col]))
    ]
    return [
        Table(name, cells, str(col), "name", folder, len(cells), found[1].name)
        for col in unique
        for folder in ids.images
        if len(cells) >= MIN_COVERED * len(ids.images[folder])
        if (found := ids.by_rule(folder).find(list(cells[col]))) is not None
    ]


def _why_ignored(cells: pd.DataFrame, survey: Survey) -> str:
    """Return why a table names no images, with examples of both sides."""
    images = next(iter(survey.images.values()))
    ids = [] if cells.empty else list(cells.iloc[:2, 0])
    shown = f"'{cells.columns[0]}' has {first_few(ids)}; images are {first_few(images[:2])}"
    return f"no column names images: {shown}"


def _known_ids(images: Sequence[str], style: IdStyle) -> set[str]:
    """Return the ids of images, and their looser spellings that belong to one image only."""
    ids = [image_id(name, style) for name in images]
    if style == "folder":
        return set(ids) - {""}
    known, ambiguous = set(ids), set[str]()
    for each in ids:
        for alias in set(loose_ids(each)) - {each}:
            (ambiguous if alias in known else known).add(alias)
    return known - (ambiguous - set(ids))


def _matches(values: list[str], known: set[str]) -> int:
    """Return how many values are image ids, or 0 if too few are for a column of ids."""

    def hits(some: list[str]) -> int:
        return sum(value in known or loose_ids(value)[0] in known for value in some)

    if not values or hits(values[:PROBED_ROWS]) < MIN_MATCHED * len(values[:PROBED_ROWS]):
        return 0
    found = hits(values)
    return found if found >= MIN_MATCHED * len(values) else 0


def _match_quality(table: Table, survey: Survey) -> tuple[bool, int, bool, float]:
    """Return how well a table fits its folder: unique ids, matched ids, matching names, share covered.

    If ids start at 0 in both train and test, a table matches both; then only the last two values decide.
    """
    of_test = has_word(table.name, *TEST_TABLES)
    agrees = has_word(table.folder, "test") == of_test
    return not table.repeats, table.matched, agrees, table.matched / len(survey.images[table.folder])


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

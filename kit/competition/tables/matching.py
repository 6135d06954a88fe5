"""Match tables with images: find the column that names the images of a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import permutations

import pandas as pd

from kit.competition.id_rules import RuleIndex, rules_for
from kit.competition.images.files import ID_STYLES, IdStyle, image_id, loose_ids
from kit.competition.tables.read import JOINT, joined_columns
from kit.competition.words import has_role, has_word

TEST_TABLES = ("test", "sample", "submission", "solution")
MIN_COVERED = 0.5  # share of a folder's images that ids must name if a rule is needed to see it
MIN_MATCHED = 0.9  # share of a column's values that must be image ids; the reader reports the rest
PROBED_ROWS = 200  # checked first, to reject columns without ids quickly


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
        parts = self.id.split(JOINT)
        return [str(c) for c in self.cells.columns if c != self.id and c not in parts]

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


class ImageIds:
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

    def names(self, text: str, folder: str, style: IdStyle) -> bool:
        """Return whether a text is an image's id in a folder."""
        return text in self.known[folder, style]

    def is_image(self, text: str) -> bool:
        """Return whether a text is the name of an image, with suffix."""
        return any(text in ids for (_, style), ids in self.known.items() if style == "name")


def best_match(name: str, cells: pd.DataFrame, ids: ImageIds) -> Table | None:
    """Return the table with the column that names images best: alike, by a rule, or joined columns."""
    plain = _plain_candidates(name, cells, ids)
    candidates = (
        [table for table in plain if not table.repeats]
        or (_joined_candidates(name, cells, ids) if plain else _candidates_by_rule(name, cells, ids))
        or (plain or _joined_candidates(name, cells, ids))  # in plain: some images have several rows
    )
    return max(candidates, key=lambda table: _match_quality(table, ids), default=None)


def _plain_candidates(name: str, cells: pd.DataFrame, ids: ImageIds) -> list[Table]:
    """Return the readings of a table whose ids are spelled like the images, or like folders of images."""
    return [
        Table(name, cells, str(col), style, folder, matched)
        for (folder, style), known in ids.known.items()
        if not _roles_differ(name, folder)
        for col in cells.columns
        if style != "folder" or not cells[col].duplicated().any()
        for matched in [_matches(list(cells[col]), known)]
        if matched
    ]


def _roles_differ(table: str, folder: str) -> bool:
    """Return whether a table is for training and a folder for testing, or the reverse."""
    return any(
        has_role(table, one) and not has_role(table, other) and any(has_word(p, other) for p in parts)
        for parts in [folder.split("/")]
        for one, other in (("train", "test"), ("test", "train"))
    )


def _joined_candidates(name: str, cells: pd.DataFrame, ids: ImageIds) -> list[Table]:
    """Return the readings of a table whose columns, joined by slashes, are the paths of images.

    As if ``patient`` and ``file`` name ``train/p7/3.png``: the same file name may occur in several folders.
    """
    found = []
    for (folder, style), known in ids.known.items():
        paths = [image_id(image, style).split("/") for image in ids.images[folder]]
        if style == "folder" or _roles_differ(name, folder) or {len(parts) for parts in paths} - {2, 3}:
            continue
        folders, files = {part for parts in paths for part in parts[:-1]}, {parts[-1] for parts in paths}
        outer = [c for c in cells.columns if set(cells[c][:PROBED_ROWS]) <= folders]
        inner = [c for c in cells.columns if set(cells[c][:PROBED_ROWS]) <= files]
        for depth in {len(parts) - 1 for parts in paths}:
            for columns in ((*above, last) for above in permutations(outer, depth) for last in inner):
                joined = JOINT.join(map(str, columns))
                with_path = cells.assign(**{joined: joined_columns(cells, joined)})
                if matched := _matches(list(with_path[joined]), known):
                    found.append(Table(name, with_path, joined, style, folder, matched))
    return [table for table in found if not table.repeats]


def _candidates_by_rule(name: str, cells: pd.DataFrame, ids: ImageIds) -> list[Table]:
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
        if not _roles_differ(name, folder)
        if len(cells) >= MIN_COVERED * len(ids.images[folder])
        if (found := ids.by_rule(folder).find(list(cells[col]))) is not None
    ]


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


def _match_quality(table: Table, ids: ImageIds) -> tuple[bool, int, bool, float]:
    """Return how well a table fits its folder: unique ids, matched ids, matching names, share covered.

    If ids start at 0 in both train and test, a table matches both; then only the last two values decide.
    """
    of_test = has_role(table.name, *TEST_TABLES)
    agrees = has_word(table.folder, "test") == of_test
    return not table.repeats, table.matched, agrees, table.matched / len(ids.images[table.folder])

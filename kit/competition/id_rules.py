"""Rules by which the ids of a table meet the names of images, if they are not spelled alike.

A rule is used only if it gives every id one image, and no other rule gives other images.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from kit.errors import KitError

Spell = Callable[[str], str]


@dataclass(frozen=True)
class IdRule:
    """Two spellings that make an id and an image name equal.

    Attributes:
        name: What the rule says, for messages.
        of_id: Id -> common spelling; "" if the rule does not apply.
        of_image: Image name -> common spelling; "" if the rule does not apply.
    """

    name: str
    of_id: Spell
    of_image: Spell


def _file_name(text: str) -> str:
    return PurePosixPath(text.replace("\\", "/")).name


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _whole_number(text: str) -> str:
    match = re.fullmatch(r"(\d+)(?:\.0+)?", text.strip())
    return str(int(match[1])) if match else ""


def _only_number(text: str) -> str:
    """Return the number in a file name that has exactly one: ``train_00007.jpg`` -> ``7``."""
    path = PurePosixPath(text)
    stem = path.stem if not path.suffix[1:].isdecimal() else path.name
    numbers = re.findall(r"\d+", stem)
    return str(int(numbers[0])) if len(numbers) == 1 else ""


ID_RULES: tuple[IdRule, ...] = (
    IdRule("ids are paths from the competition's folder", str, str),
    IdRule("a backslash separates folders", lambda text: text.replace("\\", "/"), str),
    IdRule("accents may be composed or decomposed (Unicode)", _composed, _composed),
    IdRule("spaces around an id do not count", str.strip, str.strip),
    IdRule("only the file name counts, not its folders", _file_name, _file_name),
    IdRule("an id is the only number in a file name", _whole_number, _only_number),
)


class RuleIndex:
    """The images of a folder under every rule.

    Args:
        names: Spelling of an image -> its path; several spellings may have one path.
    """

    def __init__(self, names: Mapping[str, str]) -> None:
        self._paths_by_rule: list[tuple[IdRule, dict[str, set[str]]]] = []
        for rule in ID_RULES:
            paths: dict[str, set[str]] = {}
            for name, path in names.items():
                if spelled := rule.of_image(name):
                    paths.setdefault(spelled, set()).add(path)
            self._paths_by_rule.append((rule, paths))

    def find(self, ids: Sequence[str], where: object = "") -> tuple[list[str], IdRule] | None:
        """Return the image of every id, and the rule that finds it; None if no rule finds all of them.

        Raises:
            KitError: Two rules find different images.
        """
        found = [
            (images, rule)
            for rule, paths in self._paths_by_rule
            if (images := _images_of(rule, ids, paths)) is not None
        ]
        for images, rule in found[1:]:
            if images != found[0][0]:
                raise _rules_differ(ids, found[0], (images, rule), where)
        return found[0] if found else None


def _images_of(rule: IdRule, ids: Sequence[str], paths: Mapping[str, set[str]]) -> list[str] | None:
    """Return the image of every id under a rule; None unless each id has exactly one, and no two share it."""
    found: list[str] = []
    for each in ids:
        images = paths.get(rule.of_id(each), ())
        if len(images) != 1:
            return None
        found += images
    return found if len(set(found)) == len(found) else None


def _rules_differ(
    ids: Sequence[str], one: tuple[list[str], IdRule], other: tuple[list[str], IdRule], where: object
) -> KitError:
    at = next(i for i, (a, b) in enumerate(zip(one[0], other[0], strict=True)) if a != b)
    return KitError(
        where,
        f"id '{ids[at]}' is {one[0][at]} if {one[1].name}, and {other[0][at]} if {other[1].name}",
        "kit does not guess which image an id means",
        "Write the names of the images in the table as they are in the folder.",
        code="ids_ambiguous",
    )

"""Rules by which the ids of a table meet the names of images, if they are not spelled alike.

A rule is used only if it gives every id exactly one image.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Spell = Callable[[str], str]
AMBIGUOUS = ""  # instead of a path: no image, or several


@dataclass(frozen=True)
class IdRule:
    """Two spellings that make an id and an image name equal.

    Attributes:
        name: What the rule says, for messages.
        concerns: Whether the rule has an effect on an id.
        of_id: Id -> common spelling.
        of_image: Image name -> common spelling; "" if the rule does not apply.
    """

    name: str
    concerns: Callable[[str], bool]
    of_id: Spell
    of_image: Spell


def _file_name(text: str) -> str:
    return text.replace("\\", "/").rpartition("/")[2]


def _composed(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _is_whole_number(text: str) -> bool:
    return re.fullmatch(r"\s*\d+(\.0+)?\s*", text) is not None


def _whole_number(text: str) -> str:
    return str(int(text.partition(".")[0])) if _is_whole_number(text) else ""


def _only_number(text: str) -> str:
    """Return the number in a file name that has exactly one: ``train_00007.jpg`` -> ``7``."""
    name = text.rpartition("/")[2]
    stem, _, suffix = name.rpartition(".")
    numbers = re.findall(r"\d+", stem if stem and not suffix.isdecimal() else name)
    return str(int(numbers[0])) if len(numbers) == 1 else ""


ID_RULES: tuple[IdRule, ...] = (
    IdRule("ids are paths from the competition's folder", lambda text: "/" in text, str, str),
    IdRule(
        "a backslash separates folders", lambda text: "\\" in text, lambda text: text.replace("\\", "/"), str
    ),
    IdRule(
        "accents may be composed or decomposed (Unicode)",
        lambda text: not text.isascii(),
        _composed,
        _composed,
    ),
    IdRule("spaces around an id do not count", lambda text: text != text.strip(), str.strip, str.strip),
    IdRule(
        "only the file name counts, not its folders",
        lambda text: "/" in text or "\\" in text,
        _file_name,
        _file_name,
    ),
    IdRule("an id is the only number in a file name", _is_whole_number, _whole_number, _only_number),
)


class RuleIndex:
    """The images of a folder under every rule, which is computed when an id needs it.

    Args:
        names: Spelling of an image -> its path; several spellings may have one path.
    """

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names
        self._paths: dict[str, dict[str, str]] = {}

    def find(self, ids: Sequence[str]) -> tuple[list[str], IdRule] | None:
        """Return the image of every id, and the rule that finds it; None if no rule finds all of them.

        Under a rule, every id has exactly one image, and no image two ids.
        """
        for rule in rules_for(ids):
            paths = self._paths_under(rule)
            found = [paths.get(rule.of_id(each), AMBIGUOUS) for each in ids]
            if AMBIGUOUS not in found and len(set(found)) == len(found):
                return found, rule
        return None

    def _paths_under(self, rule: IdRule) -> dict[str, str]:
        if rule.name not in self._paths:
            paths: dict[str, str] = {}
            for name, path in self._names.items():
                if spelled := rule.of_image(name):
                    paths[spelled] = path if paths.get(spelled, path) == path else AMBIGUOUS
            self._paths[rule.name] = paths
        return self._paths[rule.name]


def rules_for(ids: Sequence[str]) -> list[IdRule]:
    """Return the rules that have an effect on some ids."""
    return [rule for rule in ID_RULES if any(map(rule.concerns, ids))]

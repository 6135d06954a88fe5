"""Numbers agree with their nouns in every message: 1 file, 2 files."""

import ast
from pathlib import Path

import pytest

import kit
from kit.errors import counted, counted_of

PLURALS = [
    "boxes",
    "cells",
    "classes",
    "columns",
    "epochs",
    "files",
    "folders",
    "folds",
    "groups",
    "ids",
    "images",
    "labels",
    "members",
    "names",
    "rows",
    "runs",
    "samples",
    "submissions",
    "tables",
    "views",
]
TEXTS = {"stored", "what", "name", "kind"}  # these variables hold words: "uint16 values", "public ids"
WRITTEN = ("shape[", "counted(", "counted_of(", "' and '.join(")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((1, "file"), "1 file"),
        ((0, "file"), "0 files"),
        ((2000, "class", "classes"), "2000 classes"),
        ((1, "id is", "ids are"), "1 id is"),
        ((2, "id is", "ids are"), "2 ids are"),
    ],
)
def test_a_number_agrees_with_its_noun_and_verb(arguments, text):
    assert counted(*arguments) == text


def test_a_part_agrees_with_its_verb_and_the_whole_with_its_noun():
    assert counted_of(1, 8, "id", "is", "are") == "1 of 8 ids is"
    assert counted_of(2, 8, "id", "is", "are") == "2 of 8 ids are"
    assert counted_of(1, 1, "id", "is", "are") == "1 of 1 id is"


def uncounted(text: ast.JoinedStr) -> list[str]:
    """Return the plural nouns of an f-string that follow a value which ``counted`` did not write."""
    found = []
    for position, (value, after) in enumerate(zip(text.values, text.values[1:], strict=False)):
        if not isinstance(value, ast.FormattedValue) or not isinstance(after, ast.Constant):
            continue
        word = (
            str(after.value)[1:].split(" ")[0].rstrip(".,;:()/") if str(after.value).startswith(" ") else ""
        )
        before = text.values[position - 1] if position else None
        is_total = isinstance(before, ast.Constant) and str(before.value).endswith(" of ")
        source = ast.unparse(value.value)
        if word in PLURALS and not is_total and source not in TEXTS and not source.startswith(WRITTEN):
            found.append(f"{{{source}}} {word}")
    return found


def test_no_message_writes_a_plural_after_a_number_that_may_be_1():
    package = Path(kit.__file__).parent
    found = [
        f"{path.relative_to(package)}:{node.lineno} {what}"
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.JoinedStr)
        for what in uncounted(node)
    ]
    assert found == []

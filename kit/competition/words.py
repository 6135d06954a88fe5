"""Words in the names of files and folders, which say what these are for: train, test, sample."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

ROLES = ("train", "test", "val", "valid", "dev", "holdout", "eval", "sample", "submission", "solution")


def has_word(name: str, *words: str) -> bool:
    """Return whether a word of a name starts with one of ``words``: ``testset`` does, ``contest`` not."""
    parts = re.findall(r"[a-z]+", PurePosixPath(name).name.lower())
    return any(part.startswith(words) for part in parts)


def has_role(table: str, *words: str) -> bool:
    """Return whether a table is for one of ``words``: by its file name, else by the folder that holds it."""
    names_a_role = has_word(table, *ROLES)
    return has_word(table if names_a_role else str(PurePosixPath(table).parent), *words)

"""Which earlier experiment each one was derived from, and what was changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from kit.config import Config
from kit.config.load import differences
from kit.errors import first_few
from kit.storage.workspace import RunFolder

OWN = "name"  # of which every experiment has another


class Begun(NamedTuple):
    """An experiment: when it was begun (ISO, UTC), and with what."""

    name: str
    started: str
    config: Config


class Change(NamedTuple):
    """What an experiment was derived from, and the values that differ: ``key: old -> new``."""

    parent: str
    changed: list[str]


def changes(experiments: Sequence[Begun]) -> dict[str, Change]:
    """Return name -> what the experiment was derived from; the first ones were derived from nothing.

    The parent is nobody's to say: it is the earlier experiment that differs in the fewest values, the latest
    of those that differ in equally many.
    """
    latest_first = sorted(experiments, key=lambda each: (each.started, each.name), reverse=True)
    values = _values([each.config for each in latest_first])
    found = {}
    for row, each in enumerate(latest_first):
        earlier = [n for n in range(row + 1, len(values)) if latest_first[n].started < each.started]
        if earlier:
            nearest = earlier[int((values[earlier] != values[row]).sum(axis=1).argmin())]
            parent = latest_first[nearest]
            found[each.name] = Change(parent.name, _told(parent.config, each.config))
    return found


def _values(configs: Sequence[Config]) -> np.ndarray:
    """Return a number for every value, (experiments, keys): the same value of a key has the same number.

    The names are among them: every experiment has another, so they change no order.
    """
    table = pd.json_normalize([config.model_dump() for config in configs])
    columns = [table[key].map(repr).factorize()[0] for key in table]
    return np.stack(columns, axis=1) if columns else np.zeros((len(configs), 0), dtype=np.int64)


def _told(old: Config, new: Config) -> list[str]:
    return [line for line in differences(old, new) if not line.startswith(f"{OWN}: ")]


def blend_change(run: RunFolder, method: str, members: Sequence[str]) -> str:
    """Return what a blend was made of, on one line; members of its own competition by their name."""
    names = [member.removeprefix(f"{run.competition}/") for member in members]
    return f"{method} of {first_few(names, limit=len(names))}"

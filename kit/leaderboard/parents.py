"""Find for each experiment the earlier one that it was derived from, and what changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from kit.config import Config
from kit.config.load import differences
from kit.errors import first_few
from kit.storage.workspace import RunFolder

NAME = "name"  # the key that differs in every experiment


class StartedExperiment(NamedTuple):
    """An experiment: its name, when it started (ISO, UTC), and its config."""

    name: str
    started: str
    config: Config


class Derivation(NamedTuple):
    """The experiment that another one was derived from, and the changed values: ``key: old -> new``."""

    parent: str
    changed: list[str]


def find_parents(experiments: Sequence[StartedExperiment]) -> dict[str, Derivation]:
    """Return name -> derivation, without experiments that have no earlier one.

    The parent is the earlier experiment that differs in the fewest values; of several, the latest.
    """
    latest_first = sorted(
        experiments, key=lambda experiment: (experiment.started, experiment.name), reverse=True
    )
    values = _values([experiment.config for experiment in latest_first])
    found = {}
    for row, experiment in enumerate(latest_first):
        earlier = [n for n in range(row + 1, len(values)) if latest_first[n].started < experiment.started]
        if earlier:
            nearest = earlier[int((values[earlier] != values[row]).sum(axis=1).argmin())]
            parent = latest_first[nearest]
            found[experiment.name] = Derivation(parent.name, _changes(parent.config, experiment.config))
    return found


def _values(configs: Sequence[Config]) -> np.ndarray:
    """Return a number for every value, (experiments, keys): equal values of a key have equal numbers.

    Names are included: since every experiment has its own, they do not change the order of distances.
    """
    table = pd.json_normalize([config.model_dump() for config in configs])
    columns = [table[key].map(repr).factorize()[0] for key in table]
    return np.stack(columns, axis=1) if columns else np.zeros((len(configs), 0), dtype=np.int64)


def _changes(old: Config, new: Config) -> list[str]:
    return [line for line in differences(old, new) if not line.startswith(f"{NAME}: ")]


def blend_summary(run: RunFolder, method: str, members: Sequence[str]) -> str:
    """Return method and members of a blend on one line; members of its own competition by name."""
    names = [member.removeprefix(f"{run.competition}/") for member in members]
    return f"{method} of {first_few(names, limit=len(names))}"

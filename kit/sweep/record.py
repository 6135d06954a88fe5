"""The record of a sweep: which experiment has which values, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from kit.errors import KitError
from kit.storage.files import json_number, read_json_object, write_json
from kit.storage.workspace import Workspace
from kit.sweep.space import text_of

VERSION = 1
State = Literal["begun", "finished", "pruned", "failed"]


@dataclass
class Combination:
    """One combination of values: an experiment.

    Attributes:
        values: Dotted key of the config -> value.
        fold_score: The metric on the first fold, without postprocessing; None: not known yet.
        cv: The score over all out-of-fold rows; None: not finished.
        seconds: Of training and prediction.
        why: Why it was pruned, or has failed.
    """

    name: str
    values: dict[str, Any]
    state: State = "begun"
    fold_score: float | None = None
    cv: float | None = None
    seconds: float = 0.0
    why: str = ""


@dataclass
class Record:
    """The file ``runs/COMPETITION/NAME.sweep.json``; combinations are only added, so names stay."""

    path: Path
    competition: str
    name: str
    combinations: list[Combination] = field(default_factory=list)

    @classmethod
    def open(cls, workspace: Workspace, competition: str, name: str) -> Record:
        """Return the record of the sweep over a config; a new one if none exists.

        Raises:
            KitError: It is damaged.
        """
        path = workspace.sweep(competition, name)
        if not path.exists():
            return cls(path, competition, name)
        start_anew = "Remove it: the next sweep gives its experiments new names."
        values = read_json_object(path, start_anew)
        try:
            if values["version"] != VERSION:
                raise ValueError("version")
            return cls(path, competition, name, [_read(each) for each in values["combinations"]])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise KitError(
                path, "is not the record of a sweep", "kit wrote one", start_anew, code="file_damaged"
            ) from error

    def find(self, values: Mapping[str, Any]) -> Combination | None:
        """Return the combination with these values, in any order."""
        text = text_of(dict(values))
        return next((each for each in self.combinations if text_of(each.values) == text), None)

    def add(self, values: Mapping[str, Any], workspace: Workspace) -> Combination:
        """Add a combination under a name that no run has, without writing the record."""
        number = len(self.combinations) + 1
        names = {each.name for each in self.combinations}
        while (name := f"{self.name}-s{number:02d}") in names or _is_taken(name, self.competition, workspace):
            number += 1
        self.combinations.append(Combination(name, dict(values)))
        return self.combinations[-1]

    def write(self) -> None:
        """Write the record."""
        values = [asdict(each) for each in self.combinations]
        write_json(self.path, {"version": VERSION, "combinations": values})


def _is_taken(name: str, competition: str, workspace: Workspace) -> bool:
    return workspace.run(competition, name).path.exists()


def _read(values: Any) -> Combination:
    found = Combination(**values)
    if found.state not in get_args(State) or not isinstance(found.values, dict):
        raise ValueError(found.state)
    return Combination(
        str(found.name),
        found.values,
        found.state,
        json_number(found.fold_score),
        json_number(found.cv),
        json_number(found.seconds) or 0.0,
        str(found.why),
    )

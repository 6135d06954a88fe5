"""What ``kit auto`` has learned about a competition: speeds, trials, experiments; kept for the next run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from kit.auto.costs import Costs
from kit.errors import KitError
from kit.storage.files import json_number, read_json, write_json

VERSION = 2


@dataclass
class Trial:
    """A config that was trained on the first fold for a share of the time.

    Attributes:
        params: Name of a choice -> value; ``network`` is the network's name.
        budget: The seconds that it was given.
        score: The metric on the first fold; None if it did not finish in time, or failed.
        why: Why it has no score.
    """

    name: str
    params: dict[str, Any]
    epochs: int
    budget: float
    seconds: float = 0.0
    score: float | None = None
    why: str = ""


Kind = Literal["head", "whole", "blend"]


@dataclass
class Scored:
    """An experiment of all folds, or a blend, with its score.

    Attributes:
        kind: ``head``: a head on cached features; ``whole``: all layers trained; ``blend``.
        params: As of a trial; of a head only the size, of a blend nothing.
        px: The image size in pixels; 0 of a blend.
        cv: The score over all out-of-fold rows, postprocessed.
        interval: Its 95 % interval, as text.
        at: Seconds after the start of the run that made it, earlier runs included.
    """

    name: str
    kind: Kind
    network: str
    params: dict[str, Any]
    px: int
    epochs: int
    cv: float
    interval: str
    seconds: float
    at: float

    @property
    def size(self) -> float:
        """The image size as a fraction of the network's own."""
        return float(self.params.get("size", 1.0))


@dataclass(frozen=True)
class Point:
    """A score at a time; of a blend that was made again, every score."""

    at: float
    kind: Kind
    cv: float


@dataclass
class Journal:
    """The record of ``runs/COMPETITION/auto/journal.json``, written after every step.

    Attributes:
        key: Digest of the data, folds and competition; with another one the journal begins anew.
        spent: Seconds that runs of ``kit auto`` have used.
        views: The views that whole networks predict with; None: not chosen yet.
        learned: Sentences for people, in order.
        history: Every score, in the order of time.
    """

    path: Path
    key: str
    costs: Costs = field(default_factory=Costs)
    trials: list[Trial] = field(default_factory=list)
    scored: list[Scored] = field(default_factory=list)
    views: list[str] | None = None
    learned: list[str] = field(default_factory=list)
    best: str = ""
    spent: float = 0.0
    history: list[Point] = field(default_factory=list)

    @classmethod
    def open(cls, path: Path, key: str) -> tuple[Journal, str]:
        """Return the journal, and why an existing one is not continued ("" if it is, or none exists)."""
        if not path.exists():
            return cls(path, key), ""
        try:
            values = read_json(path)
            if values.pop("version") != VERSION:
                return cls(path, key), "it was written by another version of kit"
            if values["key"] != key:
                return cls(path, key), "the images, labels, folds or competition settings have changed"
            return _from_json(path, values), ""
        except (KitError, KeyError, TypeError, AttributeError, ValueError):
            return cls(path, key), "it is damaged"

    def write(self) -> None:
        """Write the journal."""
        values = {name: value for name, value in asdict(self).items() if name != "path"}
        write_json(self.path, {"version": VERSION, **values})

    def scored_as(self, name: str) -> Scored | None:
        """Return the experiment or blend of this name if it is scored."""
        return next((each for each in self.scored if each.name == name), None)

    def add(self, scored: Scored) -> None:
        """Add an experiment or blend, in place of an earlier one of this name."""
        self.scored = [each for each in self.scored if each.name != scored.name] + [scored]
        self.history.append(Point(scored.at, scored.kind, scored.cv))
        self.write()


def _from_json(path: Path, values: dict[str, Any]) -> Journal:
    trials = [Trial(**{**each, "score": json_number(each["score"])}) for each in values.pop("trials")]
    scored = [Scored(**each) for each in values.pop("scored")]
    history = [Point(**each) for each in values.pop("history", [])]
    costs = Costs(**values.pop("costs"))
    return Journal(path, costs=costs, trials=trials, scored=scored, history=history, **values)

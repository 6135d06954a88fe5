"""Every experiment and blend beside the others, read from what they left on disk."""

from dataclasses import asdict, dataclass
from typing import Any

from kit.workspace import Workspace, read_json


@dataclass(frozen=True)
class Entry:
    """One experiment or blend of the leaderboard.

    Attributes:
        submission: The CSV, where one was written.
        minutes: Time spent training; None for blends.
    """

    competition: str
    name: str
    kind: str
    metric: str
    higher_is_better: bool
    cv: float
    sd: float
    folds: int
    minutes: float | None
    submission: str | None

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def leaderboard(workspace: Workspace) -> list[Entry]:
    """Return every evaluated run, by competition, the best CV first."""
    entries = []
    for run in workspace.runs():
        if not run.metrics.exists():
            continue
        values = read_json(run.metrics)
        seconds = [read_json(done)["seconds"] for done in run.path.glob("fold-*/done.json")]
        file = workspace.submission(run.competition, run.name)
        entries.append(
            Entry(
                competition=run.competition,
                name=run.name,
                kind="blend" if run.blend.exists() else "experiment",
                metric=values["metric"],
                higher_is_better=values["higher_is_better"],
                cv=values["cv"],
                sd=values["sd"],
                folds=len(values["folds"]),
                minutes=sum(seconds) / 60 if seconds else None,
                submission=workspace.shown(file) if file.exists() else None,
            )
        )
    return sorted(
        entries, key=lambda e: (e.competition, e.metric, -e.cv if e.higher_is_better else e.cv, e.name)
    )

"""Every experiment, blend and submission as one row, read anew from what they left on disk.

There is no table that could fall behind: delete nothing but what you no longer want, and the ledger follows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

from kit.errors import KitError
from kit.leaderboard.parents import Begun, changes
from kit.leaderboard.runs import RunRecord, fits, read_run
from kit.leaderboard.scores import Scores, number
from kit.leaderboard.submitted import Submitted, read_submitted
from kit.storage.workspace import Workspace

COMMIT = 8  # characters of a commit that tell it from the others


@dataclass(frozen=True)
class Entry:
    """One row of the ledger.

    Attributes:
        kind: ``experiment``, ``blend``, or ``submission`` for a file that no run stands behind as it is now.
        cv: The out-of-fold score; None where there is no honest one.
        low: Of its 95 % interval.
        high: Likewise.
        sd: Of the folds' scores.
        folds: How many folds have a score.
        nested: For a blend, the score that nothing was fitted on, which is its ``cv``.
        public: What the leaderboard said, as recorded.
        private: Likewise, after the end.
        minutes: Time spent training; None for blends.
        date: When it was begun, or the file written; ISO, UTC.
        submission: The file that can be handed in, where one was written.
        parent: The experiment that it was derived from.
        changed: ``key: old -> new`` against the parent; of a blend what it was made of.
    """

    competition: str
    name: str
    kind: str
    metric: str
    higher_is_better: bool
    cv: float | None
    low: float | None = None
    high: float | None = None
    sd: float | None = None
    folds: int | None = None
    nested: float | None = None
    public: float | None = None
    private: float | None = None
    device: str | None = None
    minutes: float | None = None
    date: str | None = None
    commit: str | None = None
    submission: str | None = None
    parent: str | None = None
    changed: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """What commands call it: ``<competition>/<name>``."""
        return f"{self.competition}/{self.name}"

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Ledger:
    """All rows, by competition, the best CV first; and what could not be read, each with what to do."""

    entries: list[Entry]
    problems: list[KitError]


def read_ledger(workspace: Workspace) -> Ledger:
    """Return every scored run and every submission.

    What is damaged hides nothing else: it is left out, and told.
    """
    problems: list[KitError] = []
    runs = [found for run in workspace.runs() if (found := read_run(run, problems))]
    files = (read_submitted(file, workspace, problems) for file in workspace.submissions())
    of_runs, alone = _matched(runs, [file for file in files if file], problems)
    rows = [_run_entry(run, of_runs.get(run.folder.label), workspace) for run in runs]
    rows = _derived(rows, runs)
    rows += [_submission_entry(each, workspace, _metric_of(each, runs)) for each in alone]
    return Ledger(best_first(rows), problems)


def best_first(entries: Iterable[Entry]) -> list[Entry]:
    """Return rows by competition and metric, the best CV first, those without one last."""
    return sorted(entries, key=lambda e: (e.competition, e.metric, *better(e, e.cv), e.name))


def better(entry: Entry, score: float | None) -> tuple[bool, float]:
    """Return what sorts a better score before a worse one, and none after all."""
    if score is None:
        return True, 0.0
    return False, -score if entry.higher_is_better else score


def _matched(
    runs: Iterable[RunRecord], files: Iterable[Submitted], problems: list[KitError]
) -> tuple[dict[str, Submitted], list[Submitted]]:
    """Return label of a run -> the submission that it would write now, and the other submissions."""
    by_label = {run.folder.label: run for run in runs}
    matched: dict[str, Submitted] = {}
    alone = []
    for each in files:
        run = by_label.get(each.experiment)
        try:
            fitting = run is not None and each.file.label == each.experiment and fits(each.trace, run)
        except KitError as error:
            problems.append(error)
            fitting = False
        if fitting and each.experiment not in matched:
            matched[each.experiment] = each
        else:
            alone.append(each)
    return matched, alone


def _run_entry(run: RunRecord, submitted: Submitted | None, workspace: Workspace) -> Entry:
    scores = submitted.scores if submitted and submitted.scores else Scores("")
    commit = run.commit or (submitted.trace.get("commit") if submitted else None)
    return Entry(
        competition=run.folder.competition,
        name=run.folder.name,
        kind="blend" if run.made_of else "experiment",
        metric=run.metric,
        higher_is_better=run.higher_is_better,
        cv=run.cv,
        low=run.low,
        high=run.high,
        sd=run.sd,
        folds=run.folds,
        nested=run.nested,
        public=scores.public,
        private=scores.private,
        device=run.device,
        minutes=run.minutes,
        date=run.date,
        commit=str(commit)[:COMMIT] if commit else None,
        submission=workspace.shown(submitted.file.path) if submitted else None,
        changed=(run.made_of,) if run.made_of else (),
    )


def _derived(rows: list[Entry], runs: Iterable[RunRecord]) -> list[Entry]:
    """Return the rows of runs, each experiment's with what it was derived from."""
    begun = defaultdict(list)
    for run in runs:
        if run.config is not None and run.date and not run.made_of:
            begun[run.folder.competition].append(Begun(run.folder.name, run.date, run.config))
    found = {competition: changes(experiments) for competition, experiments in begun.items()}
    return [_with_parent(row, found) for row in rows]


def _with_parent(row: Entry, found: dict[str, Any]) -> Entry:
    change = found.get(row.competition, {}).get(row.name)
    if row.kind != "experiment" or change is None:
        return row
    return replace(row, parent=change.parent, changed=tuple(change.changed))


def _metric_of(each: Submitted, runs: Iterable[RunRecord]) -> tuple[str, bool]:
    """Return a submission's metric, and whether higher is better: its own, or the only one of the runs."""
    if each.trace.get("metric"):
        return str(each.trace["metric"]), bool(each.trace.get("higher_is_better", True))
    there = {(r.metric, r.higher_is_better) for r in runs if r.folder.competition == each.file.competition}
    return there.pop() if len(there) == 1 else ("", True)


def _submission_entry(each: Submitted, workspace: Workspace, metric: tuple[str, bool]) -> Entry:
    trace, scores = each.trace, each.scores or Scores("")
    commit = trace.get("commit")
    return Entry(
        competition=each.file.competition,
        name=each.file.name,
        kind="submission",
        metric=metric[0],
        higher_is_better=metric[1],
        cv=_known(trace.get("cv")),
        sd=_known(trace.get("sd")),
        nested=_known(trace.get("cv")) if trace.get("of") == "blend" else None,
        public=scores.public,
        private=scores.private,
        date=each.date,
        commit=str(commit)[:COMMIT] if commit else None,
        submission=workspace.shown(each.file.path),
        parent=each.experiment.removeprefix(f"{each.file.competition}/") or None,
    )


def _known(value: Any) -> float | None:
    """Return a number of a trace; None for what is none."""
    try:
        return number(value)
    except ValueError:
        return None

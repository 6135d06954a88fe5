"""Read every experiment, blend and submission from disk, each as one row.

No table is stored, so none can be out of date.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

from kit.errors import KitError
from kit.leaderboard.parents import Derivation, StartedExperiment, find_parents
from kit.leaderboard.runs import RunRecord, matches_run, read_run
from kit.leaderboard.scores import RecordedScores
from kit.leaderboard.submitted import SubmissionRecord, read_submission
from kit.status.runs import RunStatus, read_status
from kit.storage.files import json_number
from kit.storage.workspace import RunFolder, Workspace

COMMIT_LENGTH = 8  # displayed characters of a commit


@dataclass(frozen=True)
class Entry:
    """One row of the leaderboard.

    Attributes:
        kind: ``experiment``, ``blend``, or ``submission`` for a file that no run would write now.
        cv: The out-of-fold score; None for a blend of members with different folds, or if unknown.
        low: Lower end of its 95 % interval.
        high: Upper end.
        sd: Standard deviation of the folds' scores.
        folds: The number of folds with a score.
        nested: For a blend, the nested score, which is its ``cv``.
        public: The recorded public leaderboard score.
        private: The recorded private leaderboard score.
        minutes: Training time; None for blends.
        date: When the run started, or the file was written; ISO, UTC.
        submission: The submission file, if one was written.
        parent: The experiment that this one was derived from.
        stale: Why the scores no longer hold: a changed input, or a damaged file; empty if they do.
        changed: Differences from the parent, ``key: old -> new``; for a blend its method and members.
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
    stale: str = ""
    changed: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The label in commands: ``<competition>/<name>``."""
        return f"{self.competition}/{self.name}"

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Leaderboard:
    """All rows, by competition and best CV first, and the problems of unreadable artifacts."""

    entries: list[Entry]
    problems: list[KitError]


def read_leaderboard(workspace: Workspace) -> Leaderboard:
    """Return every scored run and every submission.

    A damaged artifact is omitted and reported as a problem; it does not hide other rows.
    """
    problems: list[KitError] = []
    runs = [found for run in workspace.runs() if (found := read_run(run, problems))]
    files = (read_submission(file, workspace, problems) for file in workspace.submissions())
    of_runs, unmatched = _match(runs, [file for file in files if file], problems)
    chains = read_status([run.folder for run in runs], workspace, verify=False)
    stale = {chain.run.label: why for chain in chains if (why := _why_stale(chain))}
    rows = [_run_entry(run, of_runs.get(run.folder.label), workspace) for run in runs]
    rows = [replace(row, stale=stale.get(row.label, "")) for row in rows]
    rows = _with_parents(rows, runs)
    rows += [_submission_entry(file, workspace, _metric_of(file, runs)) for file in unmatched]
    return Leaderboard(best_first(rows), problems)


def parent_of(run: RunFolder, workspace: Workspace) -> Derivation | None:
    """Return the experiment that a scored one was derived from; None for the first one, and for a blend."""
    folders = (each for each in workspace.runs() if each.competition == run.competition)
    started = _started(found for each in folders if (found := read_run(each, [])))
    return find_parents(started.get(run.competition, [])).get(run.name)


def _why_stale(chain: RunStatus) -> str:
    """Return why a run's scores no longer hold; empty if they do. Missing models and files do not matter."""
    broken = (
        link for link in chain.links if link.state in ("stale", "damaged") and link.kind != "submission"
    )
    return next((f"{link.artifact}: {link.why}" for link in broken), "")


def best_first(entries: Iterable[Entry]) -> list[Entry]:
    """Return rows by competition and metric, the best CV first, rows without CV last."""
    return sorted(entries, key=lambda e: (e.competition, e.metric, *score_key(e, e.cv), e.name))


def score_key(entry: Entry, score: float | None) -> tuple[bool, float]:
    """Return a sort key: better scores first, missing ones last."""
    if score is None:
        return True, 0.0
    return False, -score if entry.higher_is_better else score


def _match(
    runs: Iterable[RunRecord], files: Iterable[SubmissionRecord], problems: list[KitError]
) -> tuple[dict[str, SubmissionRecord], list[SubmissionRecord]]:
    """Return label of a run -> the submission that it would write now, and all other submissions."""
    by_label = {run.folder.label: run for run in runs}
    matched: dict[str, SubmissionRecord] = {}
    unmatched = []
    for submitted in files:
        run = by_label.get(submitted.experiment)
        try:
            own_name = submitted.file.label == submitted.experiment
            is_current = run is not None and own_name and matches_run(submitted.trace, run)
        except KitError as error:
            problems.append(error)
            is_current = False
        if is_current and submitted.experiment not in matched:
            matched[submitted.experiment] = submitted
        else:
            unmatched.append(submitted)
    return matched, unmatched


def _run_entry(run: RunRecord, submitted: SubmissionRecord | None, workspace: Workspace) -> Entry:
    scores = submitted.scores if submitted and submitted.scores else RecordedScores("")
    commit = run.commit or (submitted.trace.get("commit") if submitted else None)
    return Entry(
        competition=run.folder.competition,
        name=run.folder.name,
        kind="blend" if run.members else "experiment",
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
        commit=_short(commit),
        submission=workspace.shown(submitted.file.path) if submitted else None,
        changed=(run.members,) if run.members else (),
    )


def _short(commit: object) -> str | None:
    return str(commit)[:COMMIT_LENGTH] if commit else None


def _with_parents(rows: list[Entry], runs: Iterable[RunRecord]) -> list[Entry]:
    """Return the rows of runs, each experiment with its parent."""
    found = {competition: find_parents(experiments) for competition, experiments in _started(runs).items()}
    return [_with_parent(row, found.get(row.competition, {}).get(row.name)) for row in rows]


def _started(runs: Iterable[RunRecord]) -> dict[str, list[StartedExperiment]]:
    """Return the experiments of each competition, without blends and unreadable experiments."""
    started = defaultdict(list)
    for run in runs:
        if run.config is not None and run.date and not run.members:
            started[run.folder.competition].append(StartedExperiment(run.folder.name, run.date, run.config))
    return started


def _with_parent(row: Entry, derivation: Derivation | None) -> Entry:
    if row.kind != "experiment" or derivation is None:
        return row
    return replace(row, parent=derivation.parent, changed=tuple(derivation.changed))


def _metric_of(submitted: SubmissionRecord, runs: Iterable[RunRecord]) -> tuple[str, bool]:
    """Return the metric of a submission and its direction: its own, or the only one of the runs."""
    trace, competition = submitted.trace, submitted.file.competition
    if trace.get("metric"):
        return str(trace["metric"]), bool(trace.get("higher_is_better", True))
    known = {(r.metric, r.higher_is_better) for r in runs if r.folder.competition == competition}
    return known.pop() if len(known) == 1 else ("", True)


def _submission_entry(submitted: SubmissionRecord, workspace: Workspace, metric: tuple[str, bool]) -> Entry:
    trace, scores = submitted.trace, submitted.scores or RecordedScores("")
    return Entry(
        competition=submitted.file.competition,
        name=submitted.file.name,
        kind="submission",
        metric=metric[0],
        higher_is_better=metric[1],
        cv=_number_or_none(trace.get("cv")),
        sd=_number_or_none(trace.get("sd")),
        nested=_number_or_none(trace.get("cv")) if trace.get("of") == "blend" else None,
        public=scores.public,
        private=scores.private,
        date=submitted.date,
        commit=_short(trace.get("commit")),
        submission=workspace.shown(submitted.file.path),
        parent=submitted.experiment.removeprefix(f"{submitted.file.competition}/") or None,
    )


def _number_or_none(value: Any) -> float | None:
    """Return a number of a trace; None if it is not one."""
    try:
        return json_number(value)
    except ValueError:
        return None

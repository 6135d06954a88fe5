"""Test predictions -> a checked CSV in ``submissions/``: nothing is written that would not pass."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from kit.competition.samples import load_competition
from kit.competition.scan import scan_images
from kit.errors import KitError, first_few
from kit.evaluation.evaluate import asked_before, learn_decision
from kit.evaluation.scored import Scored, beside_labels, beside_truth, config_of
from kit.predictions import MIXED_FOLDS, Predictions, load_predictions
from kit.progress import SILENT, Progress
from kit.submission.check import Problem, check_rows
from kit.submission.format import format_for
from kit.submission.leaks import Leak, find_leaks, with_known_labels
from kit.submission.writer import held_by, mirror_score, read_rows, render
from kit.workspace import RunFolder, Workspace, write_text

SCORE_TOLERANCE = 1e-9  # the same numbers, summed in another order


@dataclass(frozen=True)
class Submitted:
    """A written submission.

    Attributes:
        cv: None for a blend of members from different folds, whose form alone can be proved.
        mirror: The CV score read back from the written form of the OOF predictions; None where the format
            keeps less than the metric needs.
        problems: The warnings; an error would have stopped the writing.
        unreadable: Test ids whose image could not be read: their row is the class prior.
        leaks: Test images that are training images too.
        leaks_used: Whether their known labels are in the file.
        written: False if the very same file was there already.
    """

    file: Path
    rows: int
    metric: str
    cv: float | None
    mirror: float | None
    problems: list[Problem]
    unreadable: tuple[str, ...]
    leaks: list[Leak]
    leaks_used: bool
    written: bool


def submit(run: RunFolder, workspace: Workspace, progress: Progress = SILENT) -> Submitted:
    """Write the submission of a run's test predictions, after proving its form.

    The OOF predictions go through the same writer first and are read back and scored: unless that gives the
    CV score, the CSV would not say what the model says, and nothing is written.

    Raises:
        KitError: The format does not fit the data, the mirror differs, or the check finds an error.
    """
    config = config_of(run)
    competition = load_competition(config.competition, workspace)
    form = format_for(config.submission, competition)
    test = load_predictions(run.test)
    oof = load_predictions(run.oof)
    has_score = oof.origin.folds != MIXED_FOLDS
    scored = beside_truth(run, workspace) if has_score else beside_labels(oof, config, workspace)
    outcome = learn_decision(scored, asked_before(run, config) if has_score else [])
    cv = scored.metric(scored.targets, outcome.nested.probs, scored.task, outcome.nested.decided)
    mirror = mirror_score(scored, held_by(form, outcome.nested, outcome.decision, scored.task), form)
    file = workspace.submission(run.competition, run.name)
    _refuse_unproved(run, test, scored, cv, mirror, workspace.shown(file))
    answers = outcome.decision.answers(test.probs, scored.task)
    answers = held_by(form, answers, outcome.decision, scored.task)
    scan = scan_images(competition, workspace.image_table(competition.name), progress)
    leaks, use = find_leaks(competition, scan), config.competition.leaks == "use"
    if leaks and use:
        answers = with_known_labels(test, answers, leaks, competition)
    text = render(replace(test, probs=answers.probs), form, answers.decided)
    problems = check_rows(read_rows(text, form.delimiter), form)
    _refuse_errors(problems, workspace.shown(file))
    written = not (file.exists() and file.read_bytes() == text.encode())
    if written:
        write_text(file, text)
    submitted = Submitted(
        file=file,
        rows=len(form.ids),
        metric=scored.metric.name,
        cv=cv if has_score else None,
        mirror=mirror if has_score else None,
        problems=problems,
        unreadable=test.origin.unreadable,
        leaks=leaks,
        leaks_used=use,
        written=written,
    )
    _say_what_is_odd(submitted, progress)
    return submitted


def _refuse_unproved(
    run: RunFolder, test: Predictions, scored: Scored, cv: float, mirror: float | None, where: str
) -> None:
    """Refuse predictions of other models than the score is of, and a form that does not keep the score."""
    if test.origin.models != scored.oof.origin.models:
        raise KitError(
            run.label,
            "its test predictions come from other models than its OOF predictions",
            "The score must be that of what is handed in",
            f"Run `kit predict {run.label}`, or kit blend, again.",
        )
    if mirror is not None and abs(mirror - cv) > SCORE_TOLERANCE:
        raise KitError(
            where,
            f"the OOF predictions score {cv:.6f}, but {mirror:.6f} once written and read back",
            "What is written must say what the model says",
            "Nothing was written. This is a defect of kit or of submission.kind: compare `kit evaluate`.",
        )


def _say_what_is_odd(submitted: Submitted, progress: Progress) -> None:
    if submitted.unreadable:
        progress.warn(f"rows of unreadable images hold the class prior: {', '.join(submitted.unreadable)}")
    if submitted.leaks:
        progress.warn(_leaks_note(submitted.leaks, submitted.leaks_used))
    for problem in submitted.problems:
        progress.warn(f"{problem.count} x {problem.message} ({problem.first}). {problem.remedy}")


def _leaks_note(leaks: list[Leak], used: bool) -> str:
    named = first_few([f"{leak.test_id} = {leak.train_id}" for leak in leaks])
    what = f"{len(leaks)} test images are byte-identical to training images ({named})"
    if used:
        return f"{what}: their rows hold the KNOWN LABELS, not predictions (competition.leaks: use)"
    return f"{what}; their rows are predictions. If the rules allow it: competition.leaks: use"


def _refuse_errors(problems: list[Problem], where: str) -> None:
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors:
        listed = "".join(f"\n  - {e.code}: {e.count} x {e.message} ({e.first})" for e in errors)
        raise KitError(where, f"would not pass:{listed}\n", "A submission passes its check")

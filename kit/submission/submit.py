"""Test predictions -> a checked file in ``submissions/``: nothing is written that would not pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kit.competition.samples import Competition
from kit.competition.scan import scan_images
from kit.config import Config
from kit.errors import KitError
from kit.evaluation.oof_with_labels import config_of
from kit.predictions import FinalPredictions
from kit.runtime.progress import SILENT, Progress
from kit.storage.files import checksum, written_whole
from kit.storage.workspace import RunFolder, SubmissionFile, Workspace
from kit.submission.check_context import surroundings_of
from kit.submission.inputs import Work
from kit.submission.leaks import Leak, find_leaks
from kit.submission.provenance import (
    decision_of,
    keep_scored,
    leaks_of,
    read_trace,
    trace_of,
    write_trace,
)
from kit.submission.verify import Proof, prove
from kit.submission_check.check import check_file
from kit.submission_check.context import Surroundings
from kit.submission_check.problem_codes import Problem
from kit.submission_format.spec import SubmissionFormat
from kit.submission_format.writer import write

NAMED = 20  # images that a note lists; all of them are in the file beside the submission


@dataclass(frozen=True)
class Submitted:
    """A written submission.

    Attributes:
        kind: What its rows say, as ``SubmissionFormat.kind``.
        problems: The warnings; an error would have stopped the writing.
        unreadable: Test ids whose image could not be read: their row is the class prior.
        leaks: Test images that are training images too.
        leaks_used: Whether their known labels are in the file.
        written: False if the very same file was there already.
        kept: Where an earlier file of that name is now, whose leaderboard score is recorded.
    """

    file: SubmissionFile
    kind: str
    rows: int
    proof: Proof
    problems: list[Problem]
    unreadable: tuple[str, ...]
    leaks: list[Leak]
    leaks_used: bool
    written: bool
    kept: Path | None


def submit(
    run: RunFolder,
    workspace: Workspace,
    progress: Progress = SILENT,
    competition: Competition | None = None,
) -> Submitted:
    """Write the submission of a run's test predictions, after proving its form.

    The OOF predictions go through the same writer first and are read back and scored: unless that gives the
    CV score, the file would not say what the model says, and nothing is written. Labelled sets that were held
    out go the same way. What the submission is made of is written beside it.

    Args:
        competition: The run's competition if it is loaded already; None loads it.

    Raises:
        KitError: The format does not fit the data, the mirror differs, or the check finds an error.
    """
    work = Work.of(run, config_of(run), workspace, competition)
    file = work.file(workspace)
    decision, proof = prove(work, workspace, workspace.shown(file.path))
    scan = scan_images(work.competition, workspace.image_table(work.competition.name), progress)
    leaks = find_leaks(work.competition, scan)
    use = work.config.competition.leaks == "use" and work.pool is None
    known = leaks if use else []
    answers = work.answers(decision, known)
    around = surroundings_of(work.config, work.competition, work.form, workspace, file.path, run)
    problems, written, kept = _write_checked(file, answers, work.form, around, workspace)
    done = Submitted(
        file=file,
        kind=work.form.kind,
        rows=len(work.form),
        proof=proof,
        problems=problems,
        unreadable=work.test.origin.unreadable,
        leaks=leaks,
        leaks_used=bool(known),
        written=written,
        kept=kept,
    )
    odd = {
        "unreadable": list(done.unreadable),
        "leaks": [leak._asdict() for leak in leaks],
        "warnings": [problem.code for problem in problems],
    }
    told = {"rows": done.rows, "kind": done.kind, **proof.as_dict(), **odd}
    write_trace(file, trace_of(run, workspace, work.config, work.test, decision, known, told))
    _say_what_is_odd(done, workspace, progress)
    return done


def submit_again(path: Path, workspace: Workspace) -> tuple[SubmissionFile, bool]:
    """Write a submission once more, from the file beside it that says what it was made of.

    Returns:
        The submission, and whether it had to be written; its bytes are those it had.

    Raises:
        KitError: What it was made of is not what is there now; nothing was written.
    """
    trace = read_trace(path)
    file = SubmissionFile(path.with_name(trace["file"]))
    if file.path.exists() and checksum(file.path) == trace["sha256"]:
        return file, False
    run = workspace.find_run(trace["experiment"])
    work = Work.of(run, Config.model_validate(trace["config"]), workspace)
    if work.test.digest() != trace["predictions"]:
        raise _other_predictions(path, work, trace["models"], trace["tta"])
    answers = work.answers(decision_of(trace), leaks_of(trace))
    with written_whole(file.path) as draft:
        write(draft, answers, work.form)
        if checksum(draft) != trace["sha256"]:
            raise KitError(
                path,
                "the predictions are the same, and the file they give is not",
                "Its form came from the sample file and the test images",
                "Bring those back as they were, or write a new one: kit submit.",
            )
        if file.path.exists():
            raise KitError(
                file.path,
                "is there, and is another file",
                "kit does not overwrite what may be wanted",
                "Move it away, and run the same again.",
            )
    return file, True


def _other_predictions(path: Path, work: Work, models: str, tta: Sequence[str]) -> KitError:
    label = work.run.label
    what = f"{label} has other test predictions now"
    if work.test.origin.models != models:
        return KitError(
            path,
            f"{what}, of other models",
            "A file is made again from the models that it was made of",
            f"Train `config` of {path.name} again: the same folds and seed give the same predictions.",
        )
    views = " ".join(tta)
    return KitError(
        path,
        f"{what}, of the same models",
        "A file is made again from the predictions that it was made of",
        f"Run `kit predict {label} --tta {views}`, and the same again.",
    )


def _write_checked(
    file: SubmissionFile,
    answers: FinalPredictions,
    form: SubmissionFormat,
    around: Surroundings,
    workspace: Workspace,
) -> tuple[list[Problem], bool, Path | None]:
    """Write a file that passes its check.

    Returns:
        The warnings; whether it is another file than was there; where that is now, if it is kept.

    Raises:
        KitError: The check finds an error; nothing was written.
    """
    kept = None
    with written_whole(file.path) as draft:
        write(draft, answers, form)
        problems = check_file(draft, form, around)
        _refuse_errors(problems, workspace.shown(file.path))
        other = not file.path.exists() or checksum(draft) != checksum(file.path)
        if other:
            kept = keep_scored(file)
    return problems, other, kept.path if kept else None


def _say_what_is_odd(done: Submitted, workspace: Workspace, progress: Progress) -> None:
    where = workspace.shown(done.file.trace)
    if done.kept is not None:
        progress.note(f"the file that was there has a recorded score: kept as {workspace.shown(done.kept)}")
    if done.unreadable:
        progress.warn(f"rows of unreadable images hold the class prior: {_listed(done.unreadable, where)}")
    if done.leaks:
        progress.warn(_leaks_note(done.leaks, done.leaks_used, where))
    if done.proof.lost > 0:
        cost = f"{done.proof.lost:.2g} of {done.proof.metric}"
        progress.warn(f"so few decimals cost {cost}: see submission.decimals")
    for problem in done.problems:
        progress.warn(f"{problem.count} x {problem.message} ({problem.first}). {problem.remedy}")


def _listed(names: Sequence[str], where: str) -> str:
    rest = f" and {len(names) - NAMED} more, listed in {where}" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + rest


def _leaks_note(leaks: list[Leak], used: bool, where: str) -> str:
    named = _listed([f"{leak.test_id} = {leak.train_id}" for leak in leaks], where)
    what = f"{len(leaks)} test images are byte-identical to training images ({named})"
    if used:
        return f"{what}: their rows hold the KNOWN LABELS, not predictions (competition.leaks: use)"
    return f"{what}; their rows are predictions. If the rules allow it: competition.leaks: use"


def _refuse_errors(problems: list[Problem], where: str) -> None:
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors:
        listed = "".join(f"\n  - {e.code}: {e.count} x {e.message} ({e.first})" for e in errors)
        raise KitError(where, f"would not pass:{listed}\n", "A submission passes its check")

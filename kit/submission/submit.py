"""Write a run's submission after all checks, or reproduce one from its provenance."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.competition.images.decode import DecodeOptions
from kit.competition.opened import OpenedCompetition
from kit.competition.scan import scan_images
from kit.errors import KitError, counted, first_few
from kit.evaluation.oof_with_labels import config_of
from kit.predictions import FinalPredictions
from kit.runtime.displayed import Displayed
from kit.runtime.progress import SILENT, Progress
from kit.storage.files import atomic_write, checksum
from kit.storage.locks import exclusive_lock
from kit.storage.workspace import RunFolder, SubmissionFile, Workspace
from kit.submission.check_context import check_context
from kit.submission.inputs import SubmissionInputs
from kit.submission.leaks import Leak, find_leaks
from kit.submission.pooling import ROW, test_rows
from kit.submission.trace_values import (
    config_in,
    decision_of,
    keep_scored,
    leaks_of,
    require_trace,
    trace_of,
    write_trace,
)
from kit.submission.verify import SubmissionScores, verify
from kit.submission_check.check import check_file
from kit.submission_check.context import CheckContext
from kit.submission_check.problem_codes import Problem
from kit.submission_format.spec import SubmissionFormat
from kit.submission_format.writer import write

NAMED = 20  # images that a note lists; the JSON file lists all


@dataclass(frozen=True)
class Submitted(Displayed):
    """A written submission.

    Attributes:
        kind: The kind of its rows, as ``submission.kind``.
        proof: Its scores.
        problems: Warnings of the submission check.
        unreadable: Test ids of unreadable images; their rows contain the mean of the training labels.
        changes: What the file says differently than the predictions, for people.
        leaks: Test images that are also training images.
        leaks_used: Whether their known labels are in the file.
        written: False if the same file existed already.
        kept: The new name of the earlier file, if that has a recorded score.
    """

    file: SubmissionFile
    kind: str
    rows: int
    proof: SubmissionScores
    problems: list[Problem]
    unreadable: tuple[str, ...]
    changes: list[str]
    leaks: list[Leak]
    leaks_used: bool
    written: bool
    kept: Path | None

    def for_trace(self) -> dict[str, Any]:
        """Return scores and warnings for the provenance."""
        return {
            "rows": self.rows,
            "kind": self.kind,
            **self.proof.as_dict(),
            "unreadable": list(self.unreadable),
            "leaks": [leak._asdict() for leak in self.leaks],
            "warnings": [problem.code for problem in self.problems],
        }


def submit(
    run: RunFolder,
    workspace: Workspace,
    progress: Progress = SILENT,
    opened: OpenedCompetition | None = None,
) -> Submitted:
    """Write the submission of a run's test predictions, and its provenance.

    Before that, the round-trip check writes the OOF predictions and every held-out set in the same format,
    reads them back and scores them. If a score differs, nothing is written.

    Args:
        opened: The run's competition, if the caller has opened it already.

    Raises:
        KitError: The format does not fit the data, the round trip differs, or the check finds an error.
    """
    inputs = SubmissionInputs.of(run, config_of(run), workspace, opened.loaded if opened else None)
    with _writing(run):
        done = _submit(inputs, workspace, progress, opened)
    _report(done, inputs, workspace, progress)
    return done


def _writing(run: RunFolder) -> AbstractContextManager[None]:
    """Return the lock under which a run's submission and its provenance are written: they must match."""
    return exclusive_lock(run.lock("submit"), f"writing the submission of {run.label}")


def _submit(
    inputs: SubmissionInputs, workspace: Workspace, progress: Progress, opened: OpenedCompetition | None
) -> Submitted:
    """Write a submission and its provenance; the caller holds the lock. See ``submit``."""
    run, file = inputs.run, inputs.file(workspace)
    postprocessing, scores = verify(inputs, workspace, workspace.shown(file.path))
    if opened is None:
        options = DecodeOptions.of(inputs.config.image)
        table = workspace.image_table(inputs.competition.name, options.key)
        scan = scan_images(inputs.competition, table, progress, options)
    else:
        scan = opened.scan
    leaks = find_leaks(inputs.competition, scan)
    use = inputs.config.competition.leaks == "use" and test_rows(inputs.pool, inputs.competition) is None
    known = leaks if use else []
    predictions = inputs.final_predictions(postprocessing, known)
    context = check_context(
        inputs.config, inputs.competition, inputs.form, workspace, file.path, run, progress=progress
    )
    problems, written, kept = _write_checked(file, predictions, inputs.form, context, workspace)
    done = Submitted(
        file=file,
        changes=inputs.form.kind.changes(predictions, inputs.form),
        kind=inputs.form.kind.name,
        rows=inputs.form.num_rows,
        proof=scores,
        problems=problems,
        unreadable=inputs.test.origin.unreadable,
        leaks=leaks,
        leaks_used=bool(known),
        written=written,
        kept=kept,
    )
    more = done.for_trace()
    write_trace(file, trace_of(run, workspace, inputs.config, inputs.test, postprocessing, known, more))
    return done


def submit_again(path: Path, workspace: Workspace) -> tuple[SubmissionFile, bool]:
    """Write a submission again from its provenance, with the same bytes.

    Returns:
        The submission, and whether it was written (False: the same file exists).

    Raises:
        KitError: The inputs of the submission have changed; nothing was written.
    """
    trace = require_trace(SubmissionFile(path))
    file = SubmissionFile(path.with_name(trace["file"]))
    if file.path.exists() and checksum(file.path) == trace["sha256"]:
        return file, False
    run = workspace.find_run(trace["experiment"])
    inputs = SubmissionInputs.of(run, config_in(trace, path), workspace)
    if inputs.test.digest() != trace["predictions"]:
        raise _other_predictions(path, inputs, trace["models"], trace["tta"])
    predictions = inputs.final_predictions(decision_of(trace), leaks_of(trace))
    with _writing(run), atomic_write(file.path) as draft:
        write(draft, predictions, inputs.form)
        if checksum(draft) != trace["sha256"]:
            raise KitError(
                path,
                "gives another file with the same predictions",
                "The sample file or the test images have changed",
                "Restore them, or write a new submission: kit submit.",
                code="inputs_changed",
            )
        if file.path.exists():
            raise KitError(
                file.path,
                "exists, with other contents",
                "kit does not overwrite files that it did not write",
                "Move it away, then run the same command again.",
                code="file_exists",
            )
    return file, True


def _other_predictions(path: Path, inputs: SubmissionInputs, models: str, tta: Sequence[str]) -> KitError:
    label = inputs.run.label
    problem = f"{label} has other test predictions now"
    if inputs.test.origin.models != models:
        return KitError(
            path,
            f"{problem}, of other models",
            "A submission is reproduced with the models that made it",
            f"Train `config` of {path.name} again: the same folds and seed give the same predictions.",
            code="models_changed",
        )
    views = " ".join(tta)
    return KitError(
        path,
        f"{problem}, of the same models",
        "A submission is reproduced with the predictions that made it",
        f"Run `kit predict {label} --tta {views}`, then the same command again.",
        code="predictions_changed",
    )


def _write_checked(
    file: SubmissionFile,
    predictions: FinalPredictions,
    form: SubmissionFormat,
    context: CheckContext,
    workspace: Workspace,
) -> tuple[list[Problem], bool, Path | None]:
    """Write a file that passes its check.

    Returns:
        The warnings; whether the file differs from the one before; the new name of that one, if it is kept.

    Raises:
        KitError: The check finds an error; nothing was written.
    """
    kept = None
    with atomic_write(file.path) as draft:
        write(draft, predictions, form)
        problems = check_file(draft, form, context)
        refuse_errors(problems, workspace.shown(file.path))
        other = not file.path.exists() or checksum(draft) != checksum(file.path)
        if other:
            kept = keep_scored(file)
    return problems, other, kept.path if kept else None


def _report(done: Submitted, inputs: SubmissionInputs, workspace: Workspace, progress: Progress) -> None:
    """Tell what the user should know about a written submission."""
    if ROW in inputs.competition.test:
        progress.note("a row of the file averages its images; the scores above are those of single images")
    if left_out := [name for name in inputs.test.classes if name not in inputs.form.classes]:
        score = "" if done.proof.cv is None else f"; {done.proof.metric} of the others {done.proof.cv:.4f}"
        progress.note(f"the sample has no column for {first_few(left_out)}{score}")
    where = workspace.shown(done.file.trace)
    if done.kept is not None:
        progress.note(f"the earlier file has a recorded score; kept as {workspace.shown(done.kept)}")
    if done.unreadable:
        listed = _listed(done.unreadable, where)
        progress.warn(f"rows of unreadable images hold the mean of the training labels: {listed}")
    for note in done.changes:
        progress.warn(note)
    if done.leaks:
        progress.warn(_leaks_note(done.leaks, done.leaks_used, where))
    if done.proof.lost > 0:
        cost = f"{done.proof.lost:.2g} of {done.proof.metric}"
        progress.warn(f"rounding costs {cost}: set submission.decimals higher")
    for problem in done.problems:
        progress.warn(f"{problem.summary}. {problem.remedy}")


def _listed(names: Sequence[str], where: str) -> str:
    rest = f" and {len(names) - NAMED} more, listed in {where}" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + rest


def _leaks_note(leaks: list[Leak], used: bool, where: str) -> str:
    pairs = _listed([f"{leak.test_id} = {leak.train_id}" for leak in leaks], where)
    found = (
        f"{counted(len(leaks), 'test image is', 'test images are')} byte-identical to training images "
        f"({pairs})"
    )
    if used:
        return f"{found}: their rows hold the KNOWN LABELS, not predictions (competition.leaks: use)"
    return f"{found}; their rows are predictions. If the rules allow it, set competition.leaks: use"


def refuse_errors(problems: list[Problem], where: str) -> None:
    """Refuse a submission whose check has found errors."""
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors:
        listed = "".join(f"\n  - {error.code}: {error.summary}" for error in errors)
        raise KitError(
            where,
            f"fails the submission check:{listed}\n",
            "Files with errors are not written",
            code="check_failed",
        )

"""Predict a hidden test folder with a bundle, and write its submission: what ``predict.py`` calls."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kit.competition.metadata import with_test_metadata
from kit.ensemble.new_images import columns_of, predict_run
from kit.errors import KitError
from kit.evaluation.oof_with_labels import config_of
from kit.inference.new_images import NewImages
from kit.platforms.hidden_test import format_of_hidden, read_hidden_test
from kit.platforms.record import read_record
from kit.postprocess.postprocessing import Postprocessing
from kit.runtime.deadline import Deadline
from kit.runtime.progress import SILENT, Progress
from kit.storage.files import atomic_write
from kit.storage.workspace import RunFolder, Workspace
from kit.submission.inputs import SubmissionInputs
from kit.submission.submit import refuse_errors
from kit.submission_check.check import check_file
from kit.submission_format.writer import write


@dataclass(frozen=True)
class HiddenSubmission:
    """A submission for a hidden test folder; ``unreadable`` are the ids of images that got the prior."""

    file: Path
    rows: int
    unreadable: tuple[str, ...]


def predict_bundle(
    bundle: Path,
    data: Path,
    out: Path,
    time_limit: str | None = None,
    progress: Progress = SILENT,
) -> HiddenSubmission:
    """Predict the test images of a competition's folder, and write their submission; reads no network.

    The bundle is only read: it may be on a read-only disk.

    Args:
        data: The competition's folder, as the platform shows it to the notebook.
        out: The file to write.
        time_limit: Stop cleanly before this much time has passed; None: as ``kit bundle`` was told.

    Raises:
        Interrupted: The time limit is reached; nothing is written, and a later call continues.
        KitError: The bundle is damaged, the folder has no test images, or the submission has an error.
    """
    progress.stage("check", str(bundle))
    record = read_record(bundle)
    deadline = Deadline.of(time_limit or record.time_limit)
    if not data.is_dir():
        raise KitError(
            data,
            "there is no such folder",
            "DATA is the competition's folder, with the test images",
            code="folder_missing",
        )
    run = RunFolder(bundle.absolute() / "runs" / record.run)
    config = config_of(run)
    hidden = read_hidden_test(config, data, record)
    form, competition = format_of_hidden(config, hidden, bundle, record)
    names = columns_of(run, Workspace(bundle.absolute(), (), ()))
    images = NewImages(
        root=competition.root,
        samples=with_test_metadata(
            competition.test[["id", "path"]], competition.root, config.competition.test, names
        ),
        partial=out.with_name(f".{out.name}.partial"),
        prior=np.array(record.prior, dtype=np.float32),
        progress=progress,
        deadline=deadline,
    )
    test = predict_run(run, Workspace(bundle.absolute(), (), ()), images)
    inputs = SubmissionInputs(run, config, competition, form, competition.task, test)
    final = inputs.final_predictions(Postprocessing.from_list(record.postprocessing), [])
    with atomic_write(out) as draft:
        write(draft, final, inputs.form)
        problems = check_file(draft, inputs.form)
        refuse_errors(problems, str(out))
    for problem in problems:
        progress.warn(f"{problem.summary}. {problem.remedy}")
    images.remove_partial()
    return HiddenSubmission(out, inputs.form.num_rows, inputs.test.origin.unreadable)

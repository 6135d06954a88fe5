"""Read a test folder that kit has never seen, as a competition without training images, and its format."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd

from kit.competition.layouts.base import images_table
from kit.competition.samples import Competition, read_test
from kit.config import Config, SubmissionConfig, TestSource
from kit.errors import KitError, counted, first_few
from kit.metrics import get_metric
from kit.platforms.record import BundleRecord
from kit.submission.format import format_for, stale_ids
from kit.submission.pooling import submitted_ids, test_rows
from kit.submission_format.spec import SubmissionFormat
from kit.tasks import LABEL, tasks

SAMPLE = "sample"  # the folder of a bundle with the placeholder's sample submission, and the class codes


def read_hidden_test(config: Config, data: Path, record: BundleRecord) -> Competition:
    """Return a competition whose test images are those of a folder.

    The ids come from the list that the config names; without that list, from the names of the images.

    Args:
        data: The competition's folder.

    Raises:
        KitError: The folder has no test images, or nothing gives their ids.
    """
    source = config.competition.test
    assert source is not None, "kit bundle has checked that there is a test set"
    if source.file is not None and not (data / source.file).is_file():
        if not record.ids_from_folder:
            raise KitError(
                data / source.file,
                "there is no such file",
                "It lists the ids of the test images, which their file names do not give",
                "Give the competition's folder as DATA.",
                code="ids_unknown",
            )
        source = TestSource(folder=source.folder, ids=source.ids)
    test, _ = read_test(data, source)
    if test.empty:
        raise KitError(
            data / source.folder,
            "has no image",
            "It should hold the test images",
            "Give the competition's folder as DATA.",
            code="no_images",
        )
    return _competition(config, data, record, test)


def _competition(config: Config, root: Path, record: BundleRecord, test: pd.DataFrame) -> Competition:
    task = tasks.get(config.competition.task)
    metric = get_metric(config.competition.metric, task)
    nothing = images_table({}).assign(**{LABEL: ""})
    return Competition(config.competition.name, root, task, metric, record.classes, nothing, {}, test)


def format_of_hidden(
    config: Config, hidden: Competition, bundle: Path, record: BundleRecord
) -> tuple[SubmissionFormat, Competition]:
    """Return the format of the submission, and the competition with the test images that it lists.

    A sample submission in the competition's folder replaces the placeholder: its ids are submitted.

    Raises:
        KitError: The sample lists ids without an image, or has another format than the placeholder.
    """
    submission = _submission(config)
    if submission.codes is not None:  # the competition's folder in a notebook need not hold them
        codes = submission.codes.model_copy(update={"file": str(bundle / SAMPLE / submission.codes.file)})
        submission = submission.model_copy(update={"codes": codes})
    ids = submitted_ids(submission.pool, hidden)
    if submission.sample is None or not (hidden.root / submission.sample).is_file():
        return _format_of_placeholder(config, bundle, record).with_images(ids), hidden
    path = hidden.root / submission.sample
    form = format_for(submission, hidden, stale="allow")
    if form.kind.name != record.kind or set(form.header) != set(record.header):
        raise KitError(
            path,
            f"has the columns {first_few(form.header)} and the kind {form.kind.name}; the placeholder has "
            f"{first_few(record.header)} and {record.kind}",
            "The hidden sample has the format of the placeholder",
            "Make the bundle again with the competition's current files.",
            code="format_differs",
        )
    _, vanished = stale_ids(form, ids)
    if vanished:
        raise KitError(
            path,
            f"lists {counted(len(vanished), 'id')} without a test image ({first_few(vanished)})",
            "Every id of the sample gets a prediction",
            code="image_missing",
        )
    return form, _listed(hidden, submission, form)


def _listed(hidden: Competition, submission: SubmissionConfig, form: SubmissionFormat) -> Competition:
    """Return the competition with only the test images whose row the format lists."""
    rows = test_rows(submission.pool, hidden)
    names = hidden.test["id"] if rows is None else pd.Series(rows.to_numpy(), index=hidden.test.index)
    kept = names.isin(set(form.images)).to_numpy()
    return replace(hidden, test=hidden.test[kept].reset_index(drop=True))


def _format_of_placeholder(config: Config, bundle: Path, record: BundleRecord) -> SubmissionFormat:
    """Return the format of the sample that the competition shows, which the bundle holds."""
    test = images_table(dict.fromkeys(record.placeholder, ""))
    shown = _competition(config, bundle / SAMPLE, record, test)
    return format_for(_submission(config).model_copy(update={"pool": None}), shown)


def _submission(config: Config) -> SubmissionConfig:
    assert config.submission is not None, "kit bundle has checked that there is a submission"
    return config.submission

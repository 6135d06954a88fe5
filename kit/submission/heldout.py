"""Score a written submission against a solution file, as a leaderboard does."""

from pathlib import Path

import pandas as pd

from kit.competition.layouts.label_cells import vote_shares
from kit.competition.samples import Competition
from kit.competition.tables.read import column, read_table, unique_ids
from kit.errors import KitError, counted, first_few
from kit.submission_format.reader import read_back
from kit.submission_format.spec import SubmissionFormat


def held_out_score(file: Path, solution: Path, form: SubmissionFormat, competition: Competition) -> float:
    """Return the score of a checked file on the labels in ``solution``.

    Args:
        solution: A CSV with the format's id column and the label columns of the task; for distributions, a
            column of votes or probabilities per class.

    Raises:
        KitError: The solution lacks an id or a column.
    """
    task = competition.task
    read = read_back(file.read_bytes().decode("utf-8-sig"), form, task)
    table = read_table(solution)
    ids = unique_ids(column(table, form.id_column, solution, "the id column"), solution)
    labels = table.set_axis(ids)
    missing = [image for image in form.images if image not in labels.index]
    if missing:
        raise KitError(
            solution,
            f"has no row for {counted(len(missing), 'id')} ({first_few(missing)})",
            code="ids_missing",
        )
    truth = labels.loc[list(form.images)]
    if task.soft:
        votes = {name: column(table, name, solution, "the votes").set_axis(ids) for name in form.classes}
        truth = vote_shares(pd.DataFrame(votes), solution).loc[list(form.images)]
    targets = task.targets(truth, form.classes)
    return competition.metric(targets, read.probs, task, read.decided if form.kind.holds_labels else None)

"""The leaderboard at home: a written CSV scored against a solution file."""

from pathlib import Path

from kit.competition.cells import column, read_table, unique_ids
from kit.competition.samples import Competition
from kit.errors import KitError, first_few
from kit.submission.format import SubmissionFormat
from kit.submission.writer import read_submission, scores_of_rows


def held_out_score(file: Path, solution: Path, form: SubmissionFormat, competition: Competition) -> float:
    """Return the competition's metric of a checked CSV against the labels that ``solution`` holds.

    Args:
        solution: A CSV with the form's id column and the label columns of the task.

    Raises:
        KitError: The solution lacks an id or a column.
    """
    rows = read_submission(file, form.delimiter)[1:]
    table = read_table(solution)
    ids = unique_ids(column(table, form.id_column, solution, "the id column"), solution)
    labels = table.set_axis(ids)
    missing = [row[0] for row in rows if row[0] not in labels.index]
    if missing:
        raise KitError(solution, f"has no row for {len(missing)} ids ({first_few(missing)})")
    truth = labels.loc[[row[0] for row in rows]]
    targets = competition.task.targets(truth, competition.classes)
    probs = scores_of_rows(rows, form, len(competition.classes))
    return competition.metric(targets, probs, competition.task)

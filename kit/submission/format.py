"""What the CSV to hand in looks like: read from the sample file, or described by the config."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from kit.competition.cells import read_table
from kit.competition.samples import Competition
from kit.config import SubmissionConfig
from kit.errors import KitError, first_few

Kind = Literal["label", "probabilities", "score", "any"]


@dataclass(frozen=True)
class SubmissionFormat:
    """The CSV to hand in.

    Attributes:
        columns: The columns after the id.
        kind: ``label``: one class name; ``probabilities``: one per class, columns are class names;
            ``score``: the probability of the second class; ``any``: read from a sample without a config,
            so that values can only be compared in shape.
        ids: Every id once, in the order of the rows.
        classes: The class names; empty where they are not known.
        newline: The line end.
        delimiter: What stands between cells.
        exclusive: Whether the probabilities of a row sum to 1.
        sample: The sample file's rows as they are, id -> cells, to recognise a file that is still the sample.
    """

    id_column: str
    columns: tuple[str, ...]
    kind: Kind
    ids: tuple[str, ...]
    classes: tuple[str, ...]
    newline: str = "\n"
    delimiter: str = ","
    exclusive: bool = True
    sample: dict[str, tuple[str, ...]] | None = None

    @property
    def header(self) -> tuple[str, ...]:
        """The first line."""
        return (self.id_column, *self.columns)


def format_for(config: SubmissionConfig | None, competition: Competition) -> SubmissionFormat:
    """Return the format of a competition's submissions, checked against its classes and test ids.

    Raises:
        KitError: There is nothing to hand in, the sample file does not list exactly the test images, or its
            columns do not fit.
    """
    if config is None:
        raise KitError(
            competition.name,
            "has no test images: nothing is handed in",
            "Held-out sets are scored by `kit evaluate`",
            "Set `competition.test` and `submission` if there are images to predict.",
        )
    if config.kind != "probabilities" and not competition.task.exclusive:
        raise KitError("submission.kind", f"is {config.kind}, and an image can have several classes")
    if config.kind == "score" and len(competition.classes) != 2:
        raise KitError("submission.kind", f"is score, for {len(competition.classes)} classes", "It takes two")
    ids = tuple(competition.test["id"])
    if config.sample is None:
        columns = competition.classes if config.kind == "probabilities" else (config.label or "",)
        found = SubmissionFormat(config.id or "", columns, config.kind, ids, competition.classes)
        return _for_task(found, competition)
    path = competition.root / config.sample
    sample = _read_sample(path, config.kind, competition.classes)
    _same_ids(path, sample.ids, ids)
    _columns_fit(path, sample)
    return _for_task(sample, competition)


def format_of_sample(path: Path) -> SubmissionFormat:
    """Return what a sample file alone tells of the format."""
    return _read_sample(path, "any", ())


def _for_task(found: SubmissionFormat, competition: Competition) -> SubmissionFormat:
    return replace(found, exclusive=competition.task.exclusive)


def _read_sample(path: Path, kind: Kind, classes: tuple[str, ...]) -> SubmissionFormat:
    table = read_table(path)
    if len(table.columns) < 2 or table.empty:
        raise KitError(path, "has no id column, no value column or no row", "A sample shows the whole form")
    id_column = str(table.columns[0])
    ids = tuple(table[id_column])
    if len(set(ids)) != len(ids):
        raise KitError(path, "lists an id twice", "A sample lists every test id once")
    with path.open("rb") as file:
        newline = "\r\n" if file.readline().endswith(b"\r\n") else "\n"
    cells = table.drop(columns=id_column).itertuples(index=False, name=None)
    return SubmissionFormat(
        id_column=id_column,
        columns=tuple(map(str, table.columns[1:])),
        kind=kind,
        ids=ids,
        classes=classes,
        newline=newline,
        delimiter="\t" if path.suffix.lower() == ".tsv" else ",",
        sample=dict(zip(ids, cells, strict=True)),
    )


def _same_ids(path: Path, sample: Sequence[str], test: Sequence[str]) -> None:
    listed, there = set(sample), set(test)
    for odd, verdict in (
        ([i for i in test if i not in listed], "does not list {} test images ({})"),
        ([i for i in sample if i not in there], "lists {} ids that are no test image ({})"),
    ):
        if odd:
            raise KitError(
                path, verdict.format(len(odd), first_few(odd)), "The sample lists every test image once"
            )


def _columns_fit(path: Path, sample: SubmissionFormat) -> None:
    if sample.kind == "probabilities" and set(sample.columns) != set(sample.classes):
        odd = sorted(set(sample.columns) ^ set(sample.classes))
        raise KitError(
            path, f"its columns are not the classes (differing: {first_few(odd)})", "One per class"
        )
    if sample.kind != "probabilities" and len(sample.columns) != 1:
        raise KitError(
            path,
            f"has {len(sample.columns)} columns beside the id",
            f"submission.kind {sample.kind} fills one",
            "Set submission.kind: probabilities if each column is a class.",
        )

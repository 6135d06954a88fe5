"""The layout ``csv``: a table of images and their labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from pydantic import Field, model_validator

from kit.competition.images.files import IdStyle, ImageFolder
from kit.competition.layouts.base import (
    HELD_OUT_WORDS,
    Detection,
    Finding,
    Hints,
    LabeledImages,
    LabeledPart,
    Layout,
    SourceTable,
    register_layout,
    with_classes,
    without_listed,
)
from kit.competition.layouts.label_cells import are_distributions, most_voted, split_labels, vote_shares
from kit.competition.layouts.label_columns import LabelColumns, is_one_hot
from kit.competition.survey import Survey
from kit.competition.tables.matching import Table
from kit.competition.tables.read import column, line_numbers, read_table, unique_ids
from kit.competition.words import has_role
from kit.config import CompetitionConfig, LabeledSource
from kit.errors import KitError, counted, first_few
from kit.tasks import LABEL, NO_LABEL, UNKNOWN, tasks

ZERO_ONE = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "True": 1, "False": 0, "true": 1, "false": 0}


class LabelTable(LabeledSource):
    """Labeled images of a folder, listed in a CSV or TSV."""

    folder: str = "train"
    """The folder of the images."""
    file: str
    """The table."""
    id: str
    """The column of ids."""
    ids: IdStyle = "name"
    """Ids are file names with suffix (``name``), without (``stem``), or folders of images (``folder``)."""
    label: str | Annotated[list[str], Field(min_length=1)]
    """The column of class names or numbers, or the 0/1 columns, one per class."""
    votes: bool = False
    """Whether the label columns hold votes or probabilities; unless the task is `soft`, the most wins."""
    rows: Literal["image", "label"] = "image"
    """What a row is: an image, or one label (`soft`: one vote) of an image that may have several rows."""
    separator: Annotated[str, Field(min_length=1)] | None = None
    """What separates the classes in a cell of the label column; `[]`: cells are lists like `['a', 'b']`."""
    group: str | None = None
    """The column of groups, such as patients: a group stays on one side of every split."""
    fold: str | None = None
    """The column of the organizers' own folds, for ``folds.scheme: column``."""

    @model_validator(mode="after")
    def _one_column_holds_several_labels(self) -> LabelTable:
        if self.separator is not None and not isinstance(self.label, str):
            raise ValueError("separator splits the cells of one label column, and label is a list")
        if self.votes and isinstance(self.label, str):
            raise ValueError("votes are in several columns, and label is one")
        if self.rows == "label" and not (isinstance(self.label, str) and self.separator is None):
            raise ValueError(
                "with rows: label, each row has one label: label is one column, without separator"
            )
        return self


@register_layout("csv")
class LabelTableLayout(Layout[LabelTable]):
    """Read and detect tables that list images with their labels, and optionally groups and folds."""

    description = "a CSV or TSV with a column of image names and columns of labels"
    section = LabelTable

    def read(self, root: Path, source: LabelTable, config: CompetitionConfig) -> LabeledImages:
        """Return ``id path``, the labels, and groups and folds if the config names their columns."""
        path = root / source.file
        table = read_table(path)
        if table.empty:
            raise KitError(
                path, "has a header and no rows", "Each labeled image has a row", code="table_empty"
            )
        labels = _labels(table, source, path, config)
        ids = column(table, source.id, path, "id")
        if source.rows == "label" and isinstance(labels, pd.Series):
            soft = tasks.get(config.task).soft
            labels = _shares_per_image(ids, labels) if soft else _labels_per_image(ids, labels)
            table = _first_rows(table, source, path)
            ids = table[source.id]
        samples, rows, images = _samples(root, source, unique_ids(ids, path), path)
        table = table.iloc[rows].reset_index(drop=True)
        labels = labels.iloc[rows].reset_index(drop=True)
        for name, chosen in (("group", source.group), ("given_fold", source.fold)):
            if chosen is not None:
                samples[name] = column(table, chosen, path, name)
        if isinstance(labels, pd.DataFrame):
            samples = with_classes(samples, labels, path)
        else:
            samples[LABEL] = labels
            _check_class_folders(samples, source, path)
        return LabeledImages(samples, without_listed(images, samples["path"]), str(path))

    def table(self, root: Path, source: LabelTable, names: Sequence[str]) -> SourceTable:
        """Return the table with a row per sample; several rows of an image must agree in the columns."""
        path = root / source.file
        table = read_table(path)
        if source.rows == "label":
            table = _first_rows(table, source, path, names)
        ids = unique_ids(column(table, source.id, path, "id"), path)
        samples, rows, _ = _samples(root, source, ids, path)
        labels = [source.label] if isinstance(source.label, str) else source.label
        roles = {source.id: "the ids"} | dict.fromkeys(labels, "the labels")
        if source.fold is not None:
            roles[source.fold] = "the folds"
        return SourceTable(samples, table.iloc[rows].reset_index(drop=True), path, roles)

    def detect(self, survey: Survey, hints: Hints) -> Detection | None:
        """Detect a table of images and labels; further tables with the same columns are held out."""
        tables = [
            t for t in survey.tables if t.others and not has_role(t.name, "sample", "submission", "solution")
        ]
        candidates = [t for t in tables if not has_role(t.name, *HELD_OUT_WORDS)]
        if not candidates:
            return None
        table = next((t for t in candidates if has_role(t.name, "train")), candidates[0])
        columns = LabelColumns.of(table, hints.labels, survey)
        train = self._part(table, columns)
        if table.ids == "folder" and _one_label_per_folder(train.labels):
            return None  # a list of class folders
        held_out = {}
        for other in tables:
            names = [columns.label] if isinstance(columns.label, str) else columns.label
            if other is not table and _is_apart(other, table) and set(names) <= set(other.others):
                part = self._part(other, columns)
                if (part.labels.to_numpy() != UNKNOWN).all() and _classes(part) <= _classes(train):
                    name = next((w for w in HELD_OUT_WORDS if has_role(other.name, w)), "more")
                    held_out[name] = part
        grouped = f"column '{columns.group}' holds groups" if columns.group else ""
        if table.ids == "folder":
            grouped = grouped or "the images of a folder are a group"
        return Detection(train, held_out, [], grouped, columns.ordinal)

    def _part(self, table: Table, columns: LabelColumns) -> LabeledPart:
        source = [
            Finding("layout", self.name, f"{table.name} lists images and their labels"),
            Finding("folder", table.folder, f"the folder of the images in {table.name}"),
            Finding("file", table.name, f"{counted(len(table.cells), 'row')}"),
            Finding("id", table.id, table.because),
            Finding("ids", table.ids, table.style),
            Finding("label", columns.label, columns.because),
        ]
        shares = _detected_shares(table, columns)
        if columns.votes:
            most = "the label is the column with the most votes; of several, the first"
            if columns.in_sample and not are_distributions(table.cells[columns.label]):
                most += " (not soft: fractions with different sums in the rows are no distributions)"
            of_soft = "each row is divided by its sum; under multiclass, " + most
            source.append(Finding("votes", True, most if shares is None else of_soft))
        if table.repeats:
            source.append(Finding("rows", "label", "some images have several rows, one per label"))
        if columns.separator is not None:
            source.append(Finding("separator", columns.separator, "separates the classes in a cell"))
        for key, name, why in (
            ("group", columns.group, "a group stays on one side of every split"),
            ("fold", columns.fold, "the organizers' own folds, for folds.scheme column"),
        ):
            if name is not None:
                source.append(Finding(key, name, why))
        return LabeledPart(source, table.folder, _detected_labels(table, columns), table, shares=shares)


def _is_apart(other: Table, table: Table) -> bool:
    """Return whether two tables label different images."""
    return other.folder != table.folder or not set(other.cells[other.id]) & set(table.cells[table.id])


def _samples(
    root: Path, source: LabelTable, ids: pd.Series, path: Path
) -> tuple[pd.DataFrame, pd.Series, dict[str, str]]:
    """Return ``id path`` of the listed images, their rows in the table, and all images of the folder.

    The images of a folder, if ids are folders, are a group.
    """
    if source.ids == "folder":
        images = ImageFolder.open(root, source.folder, "name")
        found = images.in_folders(ids, path)
        samples = found[["id", "path"]].assign(group=[ids.iloc[row] for row in found["row"]])
        return samples, found["row"], images.paths
    images = ImageFolder.open(root, source.folder, source.ids)
    samples = pd.DataFrame({"id": ids, "path": images.find(ids, path)}, dtype=str)
    return samples, pd.Series(range(len(ids))), images.paths


def _one_label_per_folder(labels: pd.DataFrame) -> bool:
    """Return whether most folders have a label of their own: then labels are names of class folders."""
    return LABEL in labels and 2 * labels[LABEL].nunique() > len(labels)


def _labels(
    table: pd.DataFrame, source: LabelTable, path: Path, config: CompetitionConfig
) -> pd.Series | pd.DataFrame:
    """Return the labels of a table: class names (N,), or columns of 0/1 or of shares (N, C)."""
    soft = tasks.get(config.task).soft
    if isinstance(source.label, list) and soft:
        return _shares(table, source, source.label, path, config)
    if isinstance(source.label, list) and source.votes:
        return most_voted(pd.DataFrame({n: column(table, n, path, "label") for n in source.label}), path)
    if isinstance(source.label, list):
        return _zero_one_block(table, source.label, path, config)
    may_be_blank = config.blank == "unlabelled" or source.separator is not None
    remedy = "Fill them, or set `competition.blank: unlabelled` to leave such rows out of training."
    cells = column(table, source.label, path, "label", "allowed" if may_be_blank else remedy)
    if source.separator is None:
        return cells.mask(cells.str.strip() == "", NO_LABEL)
    return split_labels(cells, source.separator)


def _shares(
    table: pd.DataFrame, source: LabelTable, names: list[str], path: Path, config: CompetitionConfig
) -> pd.DataFrame:
    """Return the share of each class, (N, C); NaN in blank rows, if the config allows them."""
    if not source.votes:
        raise KitError(
            path,
            f"the task is {config.task}, and "
            f"{counted(len(names), 'label column is', 'label columns are')} not said to hold votes",
            "The label of an image is a distribution over the classes",
            "Set `votes: true`; or for columns of 0 and 1 `competition.task: multilabel`.",
            code="labels_do_not_suit_task",
        )
    remedy = "Fill them, or set `competition.blank: unlabelled` to leave blank rows out of training."
    unlabelled = config.blank == "unlabelled"
    given = {name: column(table, name, path, "label", "allowed" if unlabelled else remedy) for name in names}
    return vote_shares(pd.DataFrame(given), path, unlabelled)


def _shares_per_image(ids: pd.Series, labels: pd.Series) -> pd.DataFrame:
    """Return the share of each class, a row per id in order of appearance, from a vote per row.

    An id none of whose rows has a label has the shares NaN.
    """
    counts = pd.crosstab(ids, labels).reindex(ids.unique()).drop(columns=NO_LABEL, errors="ignore")
    counts = counts.rename_axis(columns=None).reset_index(drop=True)
    shares: pd.DataFrame = counts.div(counts.sum(axis=1), axis=0)
    return shares


def _labels_per_image(ids: pd.Series, labels: pd.Series) -> pd.DataFrame:
    """Return one 0/1 column per class, a row per id in order of appearance, from a label per row.

    An id none of whose rows has a label is unknown in every class.
    """
    counts = pd.crosstab(ids, labels).reindex(ids.unique()).drop(columns=NO_LABEL, errors="ignore")
    zero_one: pd.DataFrame = counts.clip(upper=1).astype("int8").rename_axis(columns=None)
    zero_one[zero_one.sum(axis=1) == 0] = UNKNOWN
    return zero_one.reset_index(drop=True)


def _first_rows(
    table: pd.DataFrame, source: LabelTable, path: Path, names: Sequence[str] = ()
) -> pd.DataFrame:
    """Return the first row of every id, whose group, fold and further columns all its rows must have."""
    shared = [name for name in names if name in table and name != source.label]
    for name in filter(None, (source.group, source.fold, *shared)):
        differ = table.groupby(source.id)[name].nunique() > 1
        if differ.any():
            raise KitError(
                path,
                f"rows of {differ.sum()} images differ in '{name}' ({first_few(list(differ[differ].index))})",
                f"All rows of an image have the same group{', fold and metadata' if names else ' and fold'}",
                code="rows_contradict",
            )
    return table.drop_duplicates(source.id).reset_index(drop=True)


def _zero_one_block(
    table: pd.DataFrame, names: list[str], path: Path, config: CompetitionConfig
) -> pd.DataFrame:
    """Return 0/1 columns. Rows that are all blank or -1 have no label, if the config allows it."""
    block = pd.DataFrame({name: column(table, name, path, "label", "allowed") for name in names})
    numbers = block.apply(lambda cells: cells.str.strip().map(ZERO_ONE))
    without_label = block.isin(["", "-1"]).all(axis=1)
    if config.blank == "unlabelled":
        numbers[without_label] = UNKNOWN
    invalid = numbers.isna().to_numpy()
    if invalid.any():
        row, col = (int(where[0]) for where in invalid.nonzero())
        rows = invalid.any(axis=1)
        raise KitError(
            path,
            f"column '{names[col]}' holds '{block.iloc[row, col]!s}' in line {row + 2}; "
            f"{counted(rows.sum(), 'row holds', 'rows hold')} invalid values (lines "
            f"{first_few(line_numbers(rows))})",
            "Each of several label columns is 0 or 1",
            "Set `competition.blank: unlabelled` if rows that are all blank or -1 have no label."
            if without_label.any()
            else "",
            code="label_invalid",
        )
    zero_one: pd.DataFrame = numbers.astype("int8")
    return zero_one


def _check_class_folders(samples: pd.DataFrame, source: LabelTable, path: Path) -> None:
    """Refuse a table whose labels differ from the names of the class folders that hold the images."""
    depth = len(PurePosixPath(source.folder).parts)
    folders = samples["path"].map(lambda p: (PurePosixPath(p).parts[depth:-1] or ("",))[0])
    labels = set(samples[LABEL]) - {NO_LABEL}
    mostly_agree = 2 * (samples[LABEL] == folders).sum() > len(samples)
    if folders.nunique() < 2 or not (labels == set(folders) or (labels <= set(folders) and mostly_agree)):
        return  # the folders are not the classes
    differ = samples[(samples[LABEL] != folders) & (samples[LABEL] != NO_LABEL)]
    if len(differ):
        named = [f"{row.path} is '{row.label}'" for row in differ.itertuples()]
        raise KitError(
            path,
            f"{counted(len(differ), 'label contradicts', 'labels contradict')} the class folders of "
            f"{source.folder}/ ({first_few(named)})",
            "Two sources of labels must agree",
            "Fix one of them: layout class_folders reads the folders, layout csv the table.",
            code="labels_contradict",
        )


def _classes(part: LabeledPart) -> set[str]:
    return set(part.labels[LABEL]) if LABEL in part.labels else set(map(str, part.labels.columns))


def _detected_shares(table: Table, columns: LabelColumns) -> pd.DataFrame | None:
    """Return the shares of the classes, if some images have several and the submission has shares, too."""
    if not (isinstance(columns.label, list) and columns.votes and columns.in_sample):
        return None
    block = table.cells[columns.label]
    shares = vote_shares(block, Path(table.name))
    return shares if are_distributions(block) and (shares.max(axis=1) < 1).any() else None


def _detected_labels(table: Table, columns: LabelColumns) -> pd.DataFrame:
    if isinstance(columns.label, list) and columns.votes:
        return most_voted(table.cells[columns.label], Path(table.name)).to_frame(LABEL)
    if isinstance(columns.label, list):
        numbers = table.cells[columns.label].apply(pd.to_numeric, errors="coerce")
        block: pd.DataFrame = numbers.fillna(UNKNOWN).astype("int8")
        if is_one_hot(block):
            names = np.array(columns.label, dtype=object)[block.to_numpy().argmax(axis=1)]
            return pd.DataFrame({LABEL: names}, dtype=str)
        return block
    cells = column(table.cells, columns.label, Path(table.name), "label", "allowed")
    if table.repeats:
        block = _labels_per_image(table.cells[table.id], cells)
        return block.idxmax(axis=1).to_frame(LABEL) if is_one_hot(block) else block
    return split_labels(cells, columns.separator) if columns.separator else cells.to_frame(LABEL)

"""Join columns of the competition's tables to its samples, by id, and find out what they hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from kit.competition.column_encoder import NO_NUMBER, NO_TEXT, Column, NumberColumn, TextColumn, numbers_of
from kit.competition.images.files import ImageFolder
from kit.competition.layouts import layouts
from kit.competition.layouts.base import SourceTable
from kit.competition.opened import OpenedCompetition
from kit.competition.samples import Competition
from kit.competition.tables.read import column, joined_columns, read_table
from kit.config import ColumnConfig, CompetitionConfig, LabeledSource, ModelConfig, TestSource
from kit.errors import KitError, counted, first_few
from kit.runtime.progress import SILENT, Progress

PREFIX = "column:"  # of metadata among the columns of samples


# --- columns of samples


def cell_column(name: str) -> str:
    """Return the column of samples that holds the cells of a metadata column."""
    return PREFIX + name


def cell_columns(samples: pd.DataFrame) -> list[str]:
    """Return the columns of samples that hold metadata."""
    return [name for name in map(str, samples.columns) if name.startswith(PREFIX)]


def cells_of(samples: pd.DataFrame) -> pd.DataFrame | None:
    """Return the metadata of samples, as text, under the names of the tables; None if they have none."""
    found = cell_columns(samples)
    if not found:
        return None
    cells: pd.DataFrame = samples[found].rename(columns=lambda name: name.removeprefix(PREFIX))
    return cells.reset_index(drop=True)


def without_cells(samples: pd.DataFrame) -> pd.DataFrame:
    """Return samples without metadata."""
    return samples.drop(columns=cell_columns(samples))


# --- joining


def with_metadata(
    opened: OpenedCompetition, config: CompetitionConfig, model: ModelConfig, progress: Progress = SILENT
) -> OpenedCompetition:
    """Return the competition whose samples have the columns that a model uses, as text; blank: missing.

    Raises:
        KitError: ``competition.train`` has no table or no such column, or the column holds the ids, the
            labels or the folds.
    """
    names = model.columns
    if not names and not cell_columns(opened.readable.train):
        return opened
    readable = opened.readable
    train = _joined(without_cells(readable.train), _train_cells(readable, config, model, progress), names)
    held_out = {}
    for name, samples in readable.held_out.items():
        key = f"competition.held_out.{name}"
        cells = _source_cells(readable, config.held_out[name], key, model, progress)
        held_out[name] = _joined(without_cells(samples), cells, names)
    read = [each.name for each in model.tabular]
    test = with_test_metadata(without_cells(readable.test), readable.root, config.test, read)
    _warn_of_test(test, model, progress)
    return replace(opened, readable=replace(readable, train=train, held_out=held_out, test=test))


def with_test_metadata(
    test: pd.DataFrame, root: Path, source: TestSource | None, names: Sequence[str]
) -> pd.DataFrame:
    """Return test images with those of some columns that their table has, as text; blank: missing.

    Args:
        root: The competition's folder.
    """
    if not names or test.empty or source is None or source.file is None or not (root / source.file).is_file():
        return test
    path = root / source.file
    table = read_table(path)
    ids = column(table, source.id or "", path, "competition.test.id")
    if source.ids == "folder":
        found = ImageFolder.open(root, source.folder, "name").in_folders(ids, path)
        table, ids = table.iloc[found["row"]], found["id"]
    cells = _by_key(table, ids, names)
    return _joined(test, cells, list(cells.columns))


def _warn_of_test(test: pd.DataFrame, model: ModelConfig, progress: Progress) -> None:
    """Warn of columns that the model reads and the test images lack."""
    lacking = [each.name for each in model.tabular if cell_column(each.name) not in test]
    if lacking and not test.empty:
        progress.warn(
            f"the test images have no column {first_few(lacking)}: predictions treat the values as missing, "
            "and the validation score, which uses them, is too good"
        )


def _train_cells(
    competition: Competition, config: CompetitionConfig, model: ModelConfig, progress: Progress
) -> pd.DataFrame:
    """Return the cells of the training images and the extra ones, by id."""
    names = model.columns
    if not names:
        return pd.DataFrame()
    key = f"model.{'tabular' if model.tabular else 'auxiliary'}"
    found = layouts.get(config.train.layout).table(competition.root, config.train, names)
    if found is None:
        raise KitError(
            key,
            f"names the columns {first_few(names)}, and the layout {config.train.layout} has no table",
            "Columns come from the table of competition.train",
            "Use layout csv, or remove the columns.",
            code="no_table",
        )
    for name in names:
        _check_column(name, found, model)
    parts = [_by_key(found.cells, found.samples["id"], names)]
    for number, source in enumerate(config.extra):
        parts.append(_source_cells(competition, source, f"competition.extra[{number}]", model, progress))
    return pd.concat([part.reindex(columns=list(names), fill_value="") for part in parts])


def _check_column(name: str, table: SourceTable, model: ModelConfig) -> None:
    """Refuse a column that the table lacks, or that holds the ids, the labels or the folds."""
    key = "tabular" if name in [each.name for each in model.tabular] else "auxiliary"
    column(table.cells, name, table.file, f"model.{key}", "allowed")
    if name in table.roles:
        raise KitError(
            f"model.{key}",
            f"names '{name}', which holds {table.roles[name]}",
            "A column of metadata is known of a new image, too"
            if key == "tabular"
            else "An auxiliary column is something else than what the model is trained for",
            "Remove it.",
            code="column_has_role",
        )


def _source_cells(
    competition: Competition, source: LabeledSource, where: str, model: ModelConfig, progress: Progress
) -> pd.DataFrame:
    """Return the cells of an extra or held-out source by id; one warning names missing columns."""
    is_extra = where.startswith("competition.extra")  # its samples have their paths as ids
    needed = model.columns if is_extra else [each.name for each in model.tabular]
    found = layouts.get(source.layout).table(competition.root, source, model.columns)
    cells = pd.DataFrame()
    if found is not None:
        by_path = is_extra and not found.samples["path"].duplicated().any()
        cells = _by_key(found.cells, found.samples["path" if by_path else "id"], needed)
    if lacking := [name for name in needed if name not in cells]:
        progress.warn(f"{where} has no column {first_few(lacking)}: its values are missing")
    return cells


def _by_key(table: pd.DataFrame, keys: pd.Series, names: Iterable[str]) -> pd.DataFrame:
    """Return the columns that a table has, by the keys of its rows; ``a/b`` is two columns joined."""
    found = {name: table[name] if name in table else joined_columns(table, name) for name in names}
    cells = {name: list(column) for name, column in found.items() if column is not None}
    return pd.DataFrame(cells, index=pd.Index(list(keys)))


def _joined(samples: pd.DataFrame, cells: pd.DataFrame, names: Iterable[str]) -> pd.DataFrame:
    """Return samples with cells, joined by id; an image without a row has blank ones."""
    columns = {
        cell_column(name): samples["id"].map(cells[name]).fillna("").astype(str) if name in cells else ""
        for name in names
    }
    return samples.assign(**columns)


# --- what a column holds


def kinds_of(samples: pd.DataFrame, columns: Sequence[ColumnConfig]) -> dict[str, type[Column]]:
    """Return name -> type of the columns, from all training samples: part of the schema, not fitted.

    Raises:
        KitError: A column is blank, holds numbers and texts, or holds texts although the config says numbers.
    """
    return {each.name: _kind(samples, each) for each in columns}


def _kind(samples: pd.DataFrame, config: ColumnConfig) -> type[Column]:
    cells = samples[cell_column(config.name)].str.strip()
    if config.as_ == "text":
        kind, present = TextColumn, ~cells.str.lower().isin(NO_TEXT)
        _refuse_blank(config.name, present)
        return kind
    present = ~cells.str.lower().isin(NO_NUMBER)
    are_numbers = ~np.isnan(numbers_of(cells))
    texts = present & ~are_numbers
    if config.as_ == "auto" and not are_numbers.any():
        _refuse_blank(config.name, ~cells.str.lower().isin(NO_TEXT))
        return TextColumn
    _refuse_blank(config.name, present)
    if texts.any():
        raise KitError(
            f"column '{config.name}'",
            f"holds numbers, and {counted(texts.sum(), 'cell that is', 'cells that are')} none "
            f"({first_few(list(dict.fromkeys(cells[texts])))})",
            "A number has a decimal point; blank, nan, NA, N/A, null and none are missing",
            f"Fix the cells, or make all cells categories: `{{name: {config.name}, as: text}}`.",
            code="column_mixed",
        )
    return NumberColumn


def warn_of_new_cells(
    train: pd.DataFrame, test: pd.DataFrame, columns: Sequence[ColumnConfig], progress: Progress
) -> None:
    """Warn of test cells that the training images do not explain: texts among numbers, new categories."""
    for name, kind in kinds_of(train, columns).items():
        column_name = cell_column(name)
        if column_name not in test:
            continue
        cells = test[column_name].str.strip()
        if kind is NumberColumn:
            new = ~cells.str.lower().isin(NO_NUMBER) & np.isnan(numbers_of(cells))
            what = "no number: predictions treat it as missing"
        else:
            new = ~cells.str.lower().isin(NO_TEXT) & ~cells.isin(set(train[column_name].str.strip()))
            what = "not in the training images: predictions treat it as unknown"
        if new.any():
            shown = first_few(list(dict.fromkeys(cells[new])))
            progress.warn(f"the '{name}' of {counted(new.sum(), 'test image')} is {what} ({shown})")


def _refuse_blank(name: str, present: pd.Series) -> None:
    if not present.any():
        raise KitError(
            f"column '{name}'",
            "is blank in every training row",
            "A column of metadata has values",
            "Remove it from the config.",
            code="column_blank",
        )

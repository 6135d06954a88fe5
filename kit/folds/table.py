"""The table of folds: checked to be a partition, written and read as CSV."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from kit.competition.tables.read import read_table
from kit.errors import KitError, counted, first_few
from kit.folds.groups import Population
from kit.natural import natural_key
from kit.storage.csv_text import csv_text
from kit.storage.files import write_text
from kit.tasks import LABEL, has_label_column, has_value_column

TRAIN_ONLY = -1
HELD_OUT = -2
REMAKE = "Make the folds again: `kit folds CONFIG --force`."


@dataclass(frozen=True)
class Folds:
    """A partition of the training samples, or several (repeats).

    Attributes:
        table: ``id``, ``fold`` (and ``fold_2 fold_3 …`` for more repeats), optionally ``group``, and the
            label columns. A fold is 0..K-1; -1: always trained on and never validated (rows without a label:
            neither); -2: held out, scored and never trained on.
        label_columns: The columns of labels.
        count: K, the number of folds of one repeat.
    """

    table: pd.DataFrame
    label_columns: list[str]
    count: int

    @property
    def columns(self) -> list[str]:
        """The columns of folds, one per repeat."""
        return [str(name) for name in self.table.columns if re.fullmatch(r"fold(_\d+)?", str(name))]

    @property
    def models(self) -> int:
        """The number of models: one per fold and repeat."""
        return self.count * len(self.columns)

    def validation(self, samples: pd.DataFrame, model: int) -> np.ndarray:
        """Return which samples validate a model, (N,), bool.

        Args:
            samples: Rows with the columns ``columns``.
            model: 0..models-1; model k of repeat r is number r * K + k.
        """
        repeat, fold = divmod(model, self.count)
        return (samples[self.columns[repeat]] == fold).to_numpy(dtype=bool)

    def training(self, samples: pd.DataFrame, model: int) -> np.ndarray:
        """Return which samples train a model, (N,), bool; see ``validation``."""
        folds = samples[self.columns[model // self.count]].to_numpy()
        return np.asarray(~self.validation(samples, model) & (folds != HELD_OUT))

    @property
    def fingerprint(self) -> str:
        """A digest of the folds and labels of all ids, independent of the order of rows."""
        columns = self.table[["id", *self.columns, *self.label_columns]]
        rows = sorted("\0".join(map(str, row)) for row in columns.itertuples(index=False))
        return hashlib.sha256("\n".join(rows).encode()).hexdigest()[:16]


def check_partition(
    folds: Folds, population: Population, units: np.ndarray | None, where: object = "folds"
) -> None:
    """Check that the folds partition exactly these samples, and that every model has data.

    Args:
        units: The unit of each sample, (N,), which must stay together; None: every sample is its own.

    Raises:
        KitError: An id is missing, unknown or repeated; a label differs; a unit is on two folds; a fold is
            empty; or a class is missing in the training data of a fold.
    """
    table = folds.table
    positions = _positions(folds, population, where)
    for name in folds.label_columns:
        written, there = table[name].array.take(positions), population.samples[name].array
        changed = np.asarray((written != there) & ~(pd.isna(written) & pd.isna(there)), dtype=bool)
        if changed.any():
            problem = (
                f"{counted(changed.sum(), 'label differs', 'labels differ')} from the labels of the data"
            )
            rule = "Experiments of one competition share folds and labels"
            remedy = f"Set `competition.corrections` as in the other configs, or make new folds. {REMAKE}"
            raise KitError(where, problem, rule, remedy, code="labels_changed")
    for name in folds.columns:
        outside = ~table[name].between(HELD_OUT, folds.count - 1)
        if outside.any():
            problem = f"fold {table[name][outside].iloc[0]} is not in -2..{folds.count - 1}"
            raise KitError(where, problem, "", REMAKE, code="fold_invalid")
        if units is not None:
            _check_units(units, table[name].to_numpy()[positions], population, where)
    _check_sides(folds, population, positions, where)


def _positions(folds: Folds, population: Population, where: object) -> np.ndarray:
    """Return the row of each sample in the table, (N,)."""
    written, ids = folds.table["id"], population.samples["id"]
    twice = written.duplicated()
    if twice.any():
        named = first_few(list(written[twice]))
        raise KitError(where, f"ids are repeated ({named})", "", REMAKE, code="ids_duplicate")
    if len(written) == len(ids) and (written.array == ids.array).all():
        return np.arange(len(ids))
    index = pd.Index(written)
    positions: np.ndarray = index.get_indexer(pd.Index(ids))
    missing = list(ids[positions < 0])
    unknown = [] if not missing and len(index) == len(ids) else list(index[~index.isin(ids)])
    for wrong, what, code in (
        (missing, ("is in no fold", "are in no fold"), "ids_missing"),
        (unknown, ("is no training sample", "are no training samples"), "ids_unknown"),
    ):
        if wrong:
            problem = counted(
                len(wrong), *(f"{noun} {verb}" for noun, verb in zip(("id", "ids"), what, strict=True))
            )
            problem += f" ({first_few(wrong)})"
            raise KitError(where, problem, "", REMAKE, code=code)
    return positions


def _check_units(units: np.ndarray, folds: np.ndarray, population: Population, where: object) -> None:
    """Refuse a unit on two folds; samples without a label do not count, because they are never used."""
    rows = np.flatnonzero(population.labeled)
    pairs = pd.DataFrame({"unit": units[rows], "fold": folds[rows]}).drop_duplicates()
    split = pairs["unit"][pairs["unit"].duplicated()].unique()
    if len(split):
        ids = population.samples["id"].to_numpy()
        first = first_few(list(ids[rows][units[rows] == split[0]]))
        raise KitError(
            where,
            counted(len(split), "group or set of duplicates is", "groups or sets of duplicates are")
            + f" on more than one fold (such as {first})",
            "They must be validated together, or the score is too optimistic",
            f"{REMAKE} To allow it: `folds.keep_duplicates_together: false`, or a scheme without group.",
            code="groups_split",
        )


def _check_sides(folds: Folds, population: Population, positions: np.ndarray, where: object) -> None:
    rows, codes, names = population.classes()
    samples = folds.table.iloc[positions]
    present = np.bincount(codes, minlength=len(names)) > 0
    for model in range(folds.models):
        fold = model % folds.count
        if not folds.validation(samples, model).any():
            raise KitError(where, f"fold {fold} is empty", "", "Lower folds.count.", code="fold_empty")
        trained = np.bincount(codes[folds.training(samples, model)[rows]], minlength=len(names)) > 0
        absent = sorted((names[c] for c in np.flatnonzero(present & ~trained)), key=natural_key)
        if absent:
            raise KitError(
                where,
                f"{counted(len(absent), 'class has', 'classes have')} images in fold {fold} only "
                f"({first_few(absent)})",
                "A model needs training images of every class",
                "Set `folds.rare: train`, or add images.",
                code="class_untrained",
            )


def follow_corrections(path: Path, population: Population) -> None:
    """Write the corrected labels into a folds CSV, whose folds stay."""
    folds = read_folds(path, population.label_columns)
    table, samples = folds.table.set_index("id"), population.samples.set_index("id")
    ids = [each for each in sorted(population.corrected) if each in table.index]
    written, wanted = table.loc[ids, folds.label_columns], samples.loc[ids, folds.label_columns]
    if not written.equals(wanted.astype(written.dtypes)):
        table.loc[ids, folds.label_columns] = wanted
        save_folds(replace(folds, table=table.reset_index()[list(folds.table.columns)]), path)


def save_folds(folds: Folds, path: Path) -> None:
    """Write the folds CSV atomically."""
    write_text(path, csv_text(folds.table))


def read_folds(path: Path, label_columns: list[str]) -> Folds:
    """Return the folds of a CSV, without checking them against samples.

    Raises:
        KitError: The file is missing or lacks a column, or a fold is not a number.
    """
    if not path.is_file():
        raise KitError(path, "there are no folds yet", next="Run `kit folds CONFIG`.", code="folds_missing")
    table = read_table(path)
    missing = [c for c in ("id", "fold", *label_columns) if c not in table]
    if missing:
        rule = "Columns: id, fold and the labels"
        raise KitError(path, f"has no column {first_few(missing)}", rule, code="column_missing")
    folds = Folds(table, label_columns, 0)
    for name in folds.columns:
        if not table[name].str.fullmatch(r"-[12]|\d{1,4}").all():
            rule = "A fold is -2, -1 or 0..K-1"
            raise KitError(path, f"column {name} has values that are not folds", rule, code="fold_invalid")
    table = table.astype(dict.fromkeys(folds.columns, int))
    return Folds(_with_label_types(table, label_columns, path), label_columns, int(table["fold"].max()) + 1)


def _with_label_types(table: pd.DataFrame, label_columns: list[str], path: Path) -> pd.DataFrame:
    """Return the table with 0/1 columns as int8, or with the columns of numbers or shares as float64."""
    if not has_label_column(label_columns) and not has_value_column(label_columns):
        return table.astype(dict.fromkeys(label_columns, "int8"))
    for name in (each for each in label_columns if each != LABEL):
        try:
            table = table.assign(**{name: [float(cell) if cell else np.nan for cell in table[name]]})
        except ValueError as error:
            rule = "A label is a number, or blank without a label"
            problem = f"column {name} has a cell that is not a number"
            raise KitError(path, problem, rule, REMAKE, code="label_not_a_number") from error
    return table

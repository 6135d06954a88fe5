"""The folds of a competition: a table that is proved to be a partition, written and read as CSV."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from kit.competition.tables import read_table
from kit.errors import KitError, first_few
from kit.folds.groups import Population
from kit.natural import natural_key
from kit.storage.files import write_text

TRAIN_ONLY = -1
HELD_OUT = -2
REMAKE = "Make them again: `kit folds CONFIG --force`."


@dataclass(frozen=True)
class Folds:
    """A partition of the training samples, or several (repeats).

    Attributes:
        table: ``id``, ``fold`` (and ``fold_2 fold_3 …`` of further repeats), perhaps ``group``, and the label
            columns. A fold is 0..K-1; -1: always trained on, never validated (without a label: neither);
            -2: held out, scored and never trained on.
        label_columns: Which columns hold the labels.
        count: K, the folds of one repeat.
    """

    table: pd.DataFrame
    label_columns: list[str]
    count: int

    @property
    def columns(self) -> list[str]:
        """The columns that hold folds, one per repeat."""
        return [str(name) for name in self.table.columns if re.fullmatch(r"fold(_\d+)?", str(name))]

    @property
    def models(self) -> int:
        """How many models they make: one per fold and repeat."""
        return self.count * len(self.columns)

    def validation(self, samples: pd.DataFrame, model: int) -> np.ndarray:
        """Return which samples a model is validated on, (N,), bool.

        Args:
            samples: Rows with the columns ``columns``.
            model: 0..models-1; model k of repeat r is number r * K + k.
        """
        repeat, fold = divmod(model, self.count)
        return (samples[self.columns[repeat]] == fold).to_numpy(dtype=bool)

    def training(self, samples: pd.DataFrame, model: int) -> np.ndarray:
        """Return which samples a model is trained on, (N,), bool; see ``validation``."""
        folds = samples[self.columns[model // self.count]].to_numpy()
        return np.asarray(~self.validation(samples, model) & (folds != HELD_OUT))

    @property
    def fingerprint(self) -> str:
        """A digest of every id's folds and labels; equal for equal partitions, whatever the order of rows."""
        columns = self.table[["id", *self.columns, *self.label_columns]]
        rows = sorted("\0".join(map(str, row)) for row in columns.itertuples(index=False))
        return hashlib.sha256("\n".join(rows).encode()).hexdigest()[:16]


def prove_partition(
    folds: Folds, population: Population, units: np.ndarray | None, where: object = "folds"
) -> None:
    """Check that the folds split exactly these samples, and that every model can be trained and validated.

    Args:
        units: What must stay together, (N,), in the order of the samples; None: nothing.

    Raises:
        KitError: An id is missing, foreign or there twice; a label differs; a unit is on two folds; a fold is
            empty; or a class is absent from a training side.
    """
    table = folds.table
    positions = _positions(folds, population, where)
    for name in folds.label_columns:
        written, there = table[name].array.take(positions), population.samples[name].array
        changed = np.asarray(written != there, dtype=bool)
        if changed.any():
            raise KitError(where, f"{changed.sum()} labels differ from the data's", "Labels agree", REMAKE)
    for name in folds.columns:
        outside = ~table[name].between(HELD_OUT, folds.count - 1)
        if outside.any():
            what = f"fold {table[name][outside].iloc[0]} is not in -2..{folds.count - 1}"
            raise KitError(where, what, "", REMAKE)
        if units is not None:
            _prove_whole(units, table[name].to_numpy()[positions], population, where)
    _prove_sides(folds, population, positions, where)


def _positions(folds: Folds, population: Population, where: object) -> np.ndarray:
    """Return where each sample stands in the table, (N,)."""
    written, ids = folds.table["id"], population.samples["id"]
    twice = written.duplicated()
    if twice.any():
        named = first_few(list(written[twice]))
        raise KitError(where, f"ids are there twice ({named})", "Every id is in one fold", REMAKE)
    if len(written) == len(ids) and (written.array == ids.array).all():
        return np.arange(len(ids))
    index = pd.Index(written)
    positions: np.ndarray = index.get_indexer(pd.Index(ids))
    missing = list(ids[positions < 0])
    foreign = [] if not missing and len(index) == len(ids) else list(index[~index.isin(ids)])
    for odd, verdict in ((missing, "are in no fold"), (foreign, "are no training sample")):
        if odd:
            raise KitError(where, f"{len(odd)} ids {verdict} ({first_few(odd)})", "Ids agree", REMAKE)
    return positions


def _prove_whole(units: np.ndarray, folds: np.ndarray, population: Population, where: object) -> None:
    """Refuse a unit on two folds. Samples without a label are in no set, and so in no way."""
    rows = np.flatnonzero(population.labeled)
    pairs = pd.DataFrame({"unit": units[rows], "fold": folds[rows]}).drop_duplicates()
    split = pairs["unit"][pairs["unit"].duplicated()].unique()
    if len(split):
        ids = population.samples["id"].to_numpy()
        first = first_few(list(ids[rows][units[rows] == split[0]]))
        raise KitError(
            where,
            f"{len(split)} groups or sets of duplicates are on more than one fold (such as {first})",
            "What belongs together is validated together, or the score is too good",
            f"{REMAKE} To allow it: `folds.keep_duplicates_together: false`, or a scheme without group.",
        )


def _prove_sides(folds: Folds, population: Population, positions: np.ndarray, where: object) -> None:
    rows, codes, names = population.classes()
    samples = folds.table.iloc[positions]
    present = np.bincount(codes, minlength=len(names)) > 0
    for model in range(folds.models):
        fold = model % folds.count
        if not folds.validation(samples, model).any():
            raise KitError(where, f"fold {fold} is empty", "Every fold has images", "Lower folds.count.")
        trained = np.bincount(codes[folds.training(samples, model)[rows]], minlength=len(names)) > 0
        absent = sorted((names[c] for c in np.flatnonzero(present & ~trained)), key=natural_key)
        if absent:
            raise KitError(
                where,
                f"outside fold {fold} there is no image of {len(absent)} classes ({first_few(absent)})",
                "A model must have seen every class",
                "Set `folds.rare: train`, or add images.",
            )


def save_folds(folds: Folds, path: Path) -> None:
    """Write the folds CSV, whole or not at all."""
    write_text(path, folds.table.to_csv(index=False, lineterminator="\n"))


def read_folds(path: Path, label_columns: list[str]) -> Folds:
    """Return the folds of a CSV as they stand there.

    Raises:
        KitError: The file is missing, lacks a column, or holds something else than folds.
    """
    if not path.is_file():
        raise KitError(path, "there are no folds yet", next="Make them: `kit folds CONFIG`.")
    table = read_table(path)
    missing = [c for c in ("id", "fold", *label_columns) if c not in table]
    if missing:
        raise KitError(path, f"has no column {first_few(missing)}", "Columns: id, fold and the labels")
    folds = Folds(table, label_columns, 0)
    for name in folds.columns:
        if not table[name].str.fullmatch(r"-[12]|\d{1,4}").all():
            raise KitError(
                path, f"column {name} holds something else than numbers", "fold is -2, -1 or 0..K-1"
            )
    table = table.astype(dict.fromkeys(folds.columns, int))
    if label_columns != ["label"]:
        table = table.astype(dict.fromkeys(label_columns, "int8"))
    return Folds(table, label_columns, int(table["fold"].max()) + 1)

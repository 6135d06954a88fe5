"""Samples -> folds, the same for any order of rows, and proved to be a partition before it is written."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from kit.competition.files import natural_key, read_table
from kit.config import FoldsConfig
from kit.errors import KitError, first_few
from kit.workspace import write_text

TRAIN_ONLY = -1


@dataclass(frozen=True)
class Folds:
    """A partition of the training samples.

    Attributes:
        table: ``id fold`` and the label columns, in natural order of the ids. ``fold`` is 0..K-1, or -1 for
            rows that are always trained on and never validated.
        count: K.
    """

    table: pd.DataFrame
    count: int

    @property
    def fingerprint(self) -> str:
        """A digest of every id's fold and labels; equal for equal partitions, whatever the order of rows."""
        rows = sorted("\0".join(map(str, row)) for row in self.table.itertuples(index=False))
        return hashlib.sha256("\n".join(rows).encode()).hexdigest()[:16]

    def balance(self) -> pd.DataFrame:
        """Return the number of images per class (rows) and fold (columns)."""
        labels = [c for c in self.table.columns if c not in ("id", "fold")]
        if labels == ["label"]:
            counts = pd.crosstab(self.table["label"], self.table["fold"])
            return counts.loc[sorted(counts.index, key=natural_key)]
        return self.table.groupby("fold")[labels].sum().T

    def largest_deviation(self) -> float:
        """Return by how many images the fold and class farthest from an equal share misses it."""
        counts = self.balance().drop(columns=TRAIN_ONLY, errors="ignore")
        return float(counts.sub(counts.mean(axis=1), axis=0).abs().to_numpy().max())


def make_folds(samples: pd.DataFrame, label_columns: list[str], config: FoldsConfig) -> Folds:
    """Return stratified folds of labelled samples: every class spread as evenly as its count allows.

    The partition is a function of the ids, labels, count and seed alone. Several 0/1 label columns are
    stratified by the set of labels; sets rarer than the folds are pooled.

    Args:
        samples: ``id``, and ``label`` or one 0/1 column per class.
        label_columns: Which columns hold the labels.

    Raises:
        KitError: There are too few images, or a class has only one and ``folds.rare`` is ``refuse``.
    """
    from sklearn.model_selection import StratifiedKFold

    table = samples[["id", *label_columns]].sort_values("id", key=lambda ids: ids.map(natural_key))
    table = table.reset_index(drop=True)
    strata = _strata(table, label_columns, config.count)
    in_turn = _can_be_validated(table, label_columns, config)
    if in_turn.sum() < config.count:
        raise KitError(
            "folds.count",
            f"is {config.count}, and only {in_turn.sum()} images can be validated",
            "Every fold needs an image",
            "Lower folds.count.",
        )
    fold = np.full(len(table), TRAIN_ONLY)
    rows = np.flatnonzero(in_turn)
    splitter = StratifiedKFold(config.count, shuffle=True, random_state=config.seed)
    for number, (_, validation) in enumerate(_quietly_split(splitter, strata[rows])):
        fold[rows[validation]] = number
    table.insert(1, "fold", fold)
    folds = Folds(table, config.count)
    prove_partition(folds, samples, label_columns)
    return folds


def prove_partition(
    folds: Folds, samples: pd.DataFrame, label_columns: list[str], where: object = "folds"
) -> None:
    """Check that the folds split exactly these samples, and that every model can be trained and validated.

    Raises:
        KitError: An id is missing, foreign or there twice; a label differs; a fold is empty; or a class is
            absent from a training side.
    """
    table = folds.table
    remake = "Make them again: `kit folds CONFIG --force`."
    if table["id"].duplicated().any():
        twice = first_few(list(table["id"][table["id"].duplicated()]))
        raise KitError(where, f"ids are there twice ({twice})", "Every id is in one fold", remake)
    for mine, theirs, verdict in (
        (samples["id"], table["id"], "are in no fold"),
        (table["id"], samples["id"], "are no training sample"),
    ):
        odd = mine[~mine.isin(theirs)]
        if len(odd):
            raise KitError(where, f"{len(odd)} ids {verdict} ({first_few(list(odd))})", "Ids agree", remake)
    aligned = table.set_index("id").loc[samples["id"], label_columns].astype(str).to_numpy()
    changed = (aligned != samples[label_columns].astype(str).to_numpy()).any(axis=1)
    if changed.any():
        raise KitError(where, f"{changed.sum()} labels differ from the data's", "Labels agree", remake)
    outside = ~table["fold"].between(TRAIN_ONLY, folds.count - 1)
    if outside.any():
        raise KitError(
            where, f"fold {table['fold'][outside].iloc[0]} is not in -1..{folds.count - 1}", "", remake
        )
    _prove_sides(folds, label_columns, where)


def save_folds(folds: Folds, path: Path) -> None:
    """Write the folds CSV, whole or not at all."""
    write_text(path, folds.table.to_csv(index=False, lineterminator="\n"))


def load_folds(path: Path, samples: pd.DataFrame, label_columns: list[str]) -> Folds:
    """Return the folds of a CSV, proved to be a partition of ``samples``.

    Raises:
        KitError: The file is missing or damaged, or is not a partition of these samples.
    """
    folds = read_folds(path, label_columns)
    prove_partition(folds, samples, label_columns, path)
    return folds


def read_folds(path: Path, label_columns: list[str]) -> Folds:
    """Return the folds of a CSV as they stand there.

    Raises:
        KitError: The file is missing, lacks a column, or holds something else than folds.
    """
    if not path.is_file():
        raise KitError(path, "there are no folds yet", next_step="Make them: `kit folds CONFIG`.")
    table = read_table(path)
    missing = [c for c in ("id", "fold", *label_columns) if c not in table]
    if missing:
        raise KitError(path, f"has no column {first_few(missing)}", "Columns: id, fold and the labels")
    if not table["fold"].str.fullmatch(r"-1|\d{1,4}").all():
        raise KitError(path, "column fold holds something else than numbers", "fold is -1 or 0..K-1")
    table = table[["id", "fold", *label_columns]].astype({"fold": int})
    if label_columns != ["label"]:
        table = table.astype(dict.fromkeys(label_columns, "int8"))
    return Folds(table, int(table["fold"].max()) + 1)


def _prove_sides(folds: Folds, label_columns: list[str], where: object) -> None:
    table = folds.table
    for number in range(folds.count):
        inside = table["fold"] == number
        if not inside.any():
            raise KitError(where, f"fold {number} is empty", "Every fold has images", "Lower folds.count.")
        absent = sorted(
            _present(table, label_columns) - _present(table[~inside], label_columns), key=natural_key
        )
        if absent:
            raise KitError(
                where,
                f"outside fold {number} there is no image of {len(absent)} classes ({first_few(absent)})",
                "A model must have seen every class",
                "Set `folds.rare: train`, or add images.",
            )


def _present(table: pd.DataFrame, label_columns: list[str]) -> set[str]:
    if label_columns == ["label"]:
        return set(table["label"])
    return {c for c in label_columns if (table[c] == 1).any()}


def _strata(table: pd.DataFrame, label_columns: list[str], count: int) -> np.ndarray:
    if label_columns == ["label"]:
        return table["label"].to_numpy(dtype=object)
    sets = table[label_columns].astype(str).agg("".join, axis=1)
    common = sets.map(sets.value_counts()) >= count
    return sets.where(common, "rare").to_numpy(dtype=object)


def _can_be_validated(table: pd.DataFrame, label_columns: list[str], config: FoldsConfig) -> np.ndarray:
    """Return which rows may leave the training side: not the only image of a class."""
    if label_columns == ["label"]:
        alone = table["label"].map(table["label"].value_counts()) == 1
        lonely = list(table["label"][alone])
    else:
        single = [c for c in label_columns if table[c].sum() == 1]
        alone = table[single].sum(axis=1) > 0
        lonely = single
    if alone.any() and config.rare == "refuse":
        raise KitError(
            "folds",
            f"{len(lonely)} classes have a single image ({first_few(lonely)})",
            "A class needs two: one to train on while the other is validated",
            "Add images, or set `folds.rare: train` to keep such images in training and out of validation.",
        )
    return ~alone.to_numpy(dtype=bool)


def _quietly_split(splitter: Any, strata: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Split without scikit-learn's warning on classes smaller than the folds: the table shows them."""
    import warnings

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")
        try:
            return list(splitter.split(np.zeros(len(strata)), strata))
        except ValueError as error:
            raise KitError(
                "folds.count", f"no class has as many images as there are folds: {error}"
            ) from error


def ensure_folds(
    path: Path,
    samples: pd.DataFrame,
    label_columns: list[str],
    config: FoldsConfig,
    on_difference: Literal["use", "refuse", "replace"] = "use",
) -> tuple[Folds, Literal["made", "there", "different"]]:
    """Return the folds of a competition, making the CSV if there is none.

    Args:
        on_difference: What to do with a CSV that holds another partition than ``config`` gives.

    Returns:
        The folds, and whether they were made now, were there already, or were there and differ from what
        ``config`` gives (and are used as they are).

    Raises:
        KitError: The CSV is no partition of these samples, or differs and ``on_difference`` is ``refuse``.
    """
    if not path.exists() or on_difference == "replace":
        folds = make_folds(samples, label_columns, config)
        save_folds(folds, path)
        return folds, "made"
    folds = load_folds(path, samples, label_columns)
    if folds.count == config.count:
        if make_folds(samples, label_columns, config).fingerprint == folds.fingerprint:
            return folds, "there"
        what = f"is another partition than folds.seed {config.seed} gives"
    else:
        what = f"has {folds.count} folds, and folds.count is {config.count}"
    if on_difference == "refuse" or folds.count != config.count:
        raise KitError(
            path,
            what,
            "Experiments of one competition share one partition, or their scores cannot be compared",
            "Keep it (set folds.count to its number), or replace it: `kit folds CONFIG --force`.",
        )
    return folds, "different"

"""Samples -> folds: the same for any order of rows, every unit whole, and proved before it is used."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from kit.config import FoldsConfig
from kit.errors import KitError, first_few
from kit.folds.groups import Population
from kit.folds.stratified import canonical_rank, spread
from kit.folds.table import HELD_OUT, TRAIN_ONLY, Folds, prove_partition, read_folds, save_folds
from kit.natural import natural_key
from kit.runtime.seeds import stable_seed

SIDES_OF_HOLDOUT = np.array([TRAIN_ONLY, 0, HELD_OUT])  # in the order of folds.fractions


def make_folds(population: Population, config: FoldsConfig) -> Folds:
    """Return the folds of a population under the configured scheme, rows in the order of the samples.

    An id's fold is a function of all ids, labels, groups, duplicates and the config, not of any order. Rows
    without a label and extra rows get -1; so does whatever is tied to an extra row, since a model that is
    trained on it has seen its twin.

    Raises:
        KitError: The scheme does not suit the labels or groups, or there is no such partition; the message
            says which class or group stands in the way.
    """
    balanced_by = scheme_for(config, population)
    units = units_for(config, population)
    in_turn = _validated_rows(population, units, config)
    repeats = config.repeats or 1
    columns = {}
    for repeat in range(repeats):
        seed = config.seed if repeat == 0 else stable_seed(config.seed, "repeat", repeat)
        fold = np.full(len(population.samples), TRAIN_ONLY)
        if config.scheme == "column":
            fold[in_turn] = _given(population, in_turn)
        else:
            fold[in_turn] = _assigned(population, in_turn, units, balanced_by, config, seed)
        columns["fold" if repeat == 0 else f"fold_{repeat + 1}"] = fold
    shown = ["group"] if "group" in population.samples else []
    samples = population.samples[["id", *shown, *population.label_columns]]
    table = pd.concat(
        [samples[["id"]], pd.DataFrame(columns, index=samples.index), samples.iloc[:, 1:]], axis=1
    )
    folds = Folds(table, population.label_columns, int(table["fold"].max()) + 1)
    prove_partition(folds, population, units)
    return folds


def scheme_for(config: FoldsConfig, population: Population) -> str:
    """Return how folds are balanced: ``stratified multilabel group``, the latter two perhaps combined.

    Raises:
        KitError: The scheme does not suit the labels, or wants groups or folds that the samples lack.
    """
    grouped = "group" in population.samples
    if config.scheme in ("auto", "holdout", "repeated", "column"):
        if config.scheme == "column" and "given_fold" not in population.samples:
            raise KitError(
                "folds.scheme",
                "is column, and the labels table names no column of folds",
                "",
                "Set `competition.train.fold`.",
            )
        return ("stratified" if population.exclusive else "multilabel") + ("_group" if grouped else "")
    if config.scheme.endswith("group") and not grouped:
        raise KitError(
            "folds.scheme",
            f"is {config.scheme}, and no sample has a group",
            "Groups come from a column of the labels table, or from the ids",
            "Set `competition.train.group` or `competition.group_pattern`.",
        )
    wanted = "stratified" if population.exclusive else "multilabel"
    if config.scheme != "group" and not config.scheme.startswith(wanted):
        several = "one class" if population.exclusive else "several classes"
        raise KitError(
            "folds.scheme",
            f"is {config.scheme}, and an image can have {several}",
            "",
            f"Set `folds.scheme: {config.scheme.replace(config.scheme.split('_')[0], wanted)}`.",
        )
    return config.scheme


def units_for(config: FoldsConfig, population: Population) -> np.ndarray | None:
    """Return what must stay together under a config, (N,), or None: see ``Population.units``."""
    by_group = scheme_for(config, population).endswith("group") and config.scheme != "column"
    kept = population if config.keep_duplicates_together else replace(population, duplicates=())
    return kept.units(by_group)


def _validated_rows(population: Population, units: np.ndarray | None, config: FoldsConfig) -> np.ndarray:
    """Return the numbers of the rows that are validated in turn."""
    labelled = population.labeled
    stays = population.extra & labelled
    stays |= _alone_in_class(population, units, config, labelled & ~stays)
    if units is not None:
        pulled = np.bincount(units, weights=stays) > 0
        stays = pulled[units]
    rows = np.flatnonzero(labelled & ~stays)
    needed = 1 if config.scheme == "column" else len(_fractions(config))
    if len(rows) < needed:
        raise KitError(
            "folds.count",
            f"asks for {needed} parts, and only {len(rows)} images can be validated",
            "Every part needs an image",
            "Lower folds.count.",
        )
    return rows


def _alone_in_class(
    population: Population, units: np.ndarray | None, config: FoldsConfig, candidates: np.ndarray
) -> np.ndarray:
    """Return which candidates are all there is of a class: its only image, or its only unit, (N,), bool."""
    rows, codes, names = population.classes()
    if units is not None:
        codes_of_units = np.unique(codes.astype(np.int64) * (units.max() + 1) + units[rows]) // (
            units.max() + 1
        )
    single = np.bincount(codes if units is None else codes_of_units, minlength=len(names)) == 1
    alone = np.zeros(len(candidates), dtype=bool)
    alone[rows[single[codes]]] = True
    alone &= candidates
    if alone.any() and config.rare == "refuse":
        lonely = sorted({names[c] for c in codes[alone[rows]] if single[c]}, key=natural_key)
        what = "image" if units is None else "image, group or set of duplicates"
        raise KitError(
            "folds",
            f"{len(lonely)} classes have a single {what} ({first_few(lonely)})",
            "A class needs two: one to train on while the other is validated",
            "Add images, or set `folds.rare: train` to keep such images in training and out of validation.",
        )
    return alone


def _fractions(config: FoldsConfig) -> np.ndarray:
    return np.array(config.fractions or [1 / config.count] * config.count)


def _assigned(
    population: Population,
    rows: np.ndarray,
    units: np.ndarray | None,
    balanced_by: str,
    config: FoldsConfig,
    seed: int,
) -> np.ndarray:
    """Return the folds of some rows, in their order."""
    rank = canonical_rank(population.samples["id"].iloc[rows], seed)
    tied = None if units is None else pd.factorize(units[rows])[0]
    fractions = _fractions(config)
    if balanced_by.startswith("multilabel"):
        from kit.folds.multilabel_stratified import iterative  # with scipy, which other folds start without

        parts = iterative(population.matrix[rows], rank, fractions, tied, config.order)
    elif balanced_by == "group":
        parts = spread(np.zeros(len(rows), dtype=np.int64), rank, fractions, tied)
    else:
        strata = pd.factorize(population.samples["label"].iloc[rows])[0]
        parts = spread(strata, rank, fractions, tied)
    return SIDES_OF_HOLDOUT[parts] if config.fractions else parts


def _given(population: Population, rows: np.ndarray) -> np.ndarray:
    """Return the organisers' folds of some rows: their names in natural order are 0..K-1, and -1 stays."""
    given = population.samples["given_fold"].iloc[rows]
    names = sorted(set(given) - {str(TRAIN_ONLY), ""}, key=natural_key)
    numbers = {name: number for number, name in enumerate(names)}
    folds: np.ndarray = given.map(numbers).fillna(TRAIN_ONLY).to_numpy(dtype=np.int64)
    return folds


def load_folds(path: Path, population: Population, config: FoldsConfig) -> Folds:
    """Return the folds of a CSV, proved to be a partition of ``population``.

    Raises:
        KitError: The file is missing or damaged, or is not a partition of these samples.
    """
    folds = read_folds(path, population.label_columns)
    prove_partition(folds, population, units_for(config, population), path)
    return folds


def ensure_folds(
    path: Path,
    population: Population,
    config: FoldsConfig,
    on_difference: Literal["use", "refuse", "replace"] = "use",
) -> tuple[Folds, Literal["made", "there", "different"]]:
    """Return the folds of a competition, making the CSV if there is none; rows in natural order when made.

    Args:
        on_difference: What to do with a CSV that holds another partition than ``config`` gives.

    Returns:
        The folds, and whether they were made now, were there already, or were there and differ from what
        ``config`` gives (and are used as they are).

    Raises:
        KitError: The CSV is no partition of these samples, or differs and ``on_difference`` is ``refuse``.
    """
    if not path.exists() or on_difference == "replace":
        folds = _in_natural_order(make_folds(population, config))
        save_folds(folds, path)
        return folds, "made"
    folds, wanted = load_folds(path, population, config), make_folds(population, config)
    if wanted.fingerprint == folds.fingerprint:
        return folds, "there"
    fits = wanted.models == folds.models
    if on_difference == "use" and fits:
        return folds, "different"
    what = f"another partition than folds.seed {config.seed} gives"
    raise KitError(
        path,
        f"is {what}" if fits else f"has {folds.models} folds, and the config makes {wanted.models}",
        "Experiments of one competition share one partition, or their scores cannot be compared",
        "Keep it (set folds as it was made), or replace it: `kit folds CONFIG --force`.",
    )


def _in_natural_order(folds: Folds) -> Folds:
    table = folds.table.sort_values("id", key=lambda ids: ids.map(natural_key), ignore_index=True)
    return replace(folds, table=table)

"""Make folds: independent of the order of rows, with every unit on one side, and checked before use."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from kit.config import FoldsConfig
from kit.errors import KitError, counted, first_few
from kit.folds.groups import Population
from kit.folds.stratified import canonical_rank, quantile_bins, stratified_assignment
from kit.folds.table import (
    HELD_OUT,
    TRAIN_ONLY,
    Folds,
    check_partition,
    follow_corrections,
    read_folds,
    save_folds,
)
from kit.natural import natural_key
from kit.runtime.seeds import stable_seed
from kit.submission_format.spelling import NUMBER
from kit.tasks import LABEL, Target

LABELS = {"class": "one class", "classes": "several classes", "number": "a number"}  # of an image
HOLDOUT_SIDES = np.array([TRAIN_ONLY, 0, HELD_OUT])  # in the order of folds.fractions


@dataclass(frozen=True)
class Scheme:
    """A way to split samples.

    Attributes:
        target: What the label of an image must be; None: anything.
        grouped: Whether groups stay together: yes, no, or (None) if the samples have groups.
        stratified: Whether every fold gets the same share of each class, or of each range of numbers.
        given: Whether it uses the organizers' own folds.
    """

    target: Target | None = None
    grouped: bool | None = None
    stratified: bool = True
    given: bool = False


SCHEMES = {
    "auto": Scheme(),
    "stratified": Scheme(target="class", grouped=False),
    "group": Scheme(grouped=True, stratified=False),
    "stratified_group": Scheme(target="class", grouped=True),
    "multilabel": Scheme(target="classes", grouped=False),
    "multilabel_group": Scheme(target="classes", grouped=True),
    "quantile": Scheme(target="number", grouped=False),
    "quantile_group": Scheme(target="number", grouped=True),
    "holdout": Scheme(),
    "column": Scheme(grouped=False, given=True),
    "repeated": Scheme(),
}


def make_folds(population: Population, config: FoldsConfig) -> Folds:
    """Return the folds of a population under the configured scheme, rows in the order of the samples.

    An id's fold depends on all ids, labels, groups, duplicates and the config, but on no order. Rows without
    a label and extra rows get -1. So does every row tied to an extra row: the models are trained on its
    duplicate.

    Raises:
        KitError: The scheme does not suit the labels or groups, or no such partition exists.
    """
    scheme = scheme_for(config, population)
    units = units_for(config, population)
    validated = _validated_rows(population, units, config, scheme)
    columns = {}
    for repeat in range(config.repeats or 1):
        seed = config.seed if repeat == 0 else stable_seed(config.seed, "repeat", repeat)
        fold = np.full(len(population.samples), TRAIN_ONLY)
        if scheme.given:
            fold[validated] = _given_folds(population, validated)
        else:
            fold[validated] = _assigned_folds(population, validated, units, scheme, config, seed)
        columns["fold" if repeat == 0 else f"fold_{repeat + 1}"] = fold
    shown = ["group"] if "group" in population.samples else []
    samples = population.samples[["id", *shown, *population.label_columns]]
    table = pd.concat(
        [samples[["id"]], pd.DataFrame(columns, index=samples.index), samples.iloc[:, 1:]], axis=1
    )
    folds = Folds(table, population.label_columns, int(table["fold"].max()) + 1)
    check_partition(folds, population, units)
    return folds


def scheme_for(config: FoldsConfig, population: Population) -> Scheme:
    """Return the configured scheme.

    Raises:
        KitError: The scheme does not suit the labels, or needs groups or folds that the samples lack.
    """
    scheme, where = SCHEMES[config.scheme], "folds.scheme"
    if scheme.given and "given_fold" not in population.samples:
        problem = f"is {config.scheme}, and the config names no column of folds"
        raise KitError(where, problem, "", "Set `competition.train.fold`.", code="given_folds_missing")
    if scheme.grouped and "group" not in population.samples:
        raise KitError(
            where,
            f"is {config.scheme}, and no sample has a group",
            "Groups come from a column of the labels table, or from the ids",
            "Set `competition.train.group` or `competition.group_pattern`.",
            code="groups_missing",
        )
    if scheme.target not in (None, population.target):
        suitable = replace(scheme, target=population.target)
        name = next(name for name, each in SCHEMES.items() if each == suitable)
        raise KitError(
            where,
            f"is {config.scheme}, and an image can have {LABELS[population.target]}",
            "",
            f"Set `folds.scheme: {name}`.",
            code="scheme_unsuitable",
        )
    return scheme


def units_for(config: FoldsConfig, population: Population) -> np.ndarray | None:
    """Return the units that must stay together under a config, (N,), or None: see ``Population.units``."""
    grouped = scheme_for(config, population).grouped
    by_group = "group" in population.samples if grouped is None else grouped
    tied = population if config.keep_duplicates_together else replace(population, duplicates=())
    return tied.units(by_group)


def _validated_rows(
    population: Population, units: np.ndarray | None, config: FoldsConfig, scheme: Scheme
) -> np.ndarray:
    """Return the positions of the rows that are validated."""
    labeled = population.labeled
    train_only = population.extra & labeled
    train_only |= _single_in_class(population, units, config, labeled & ~train_only)
    if units is not None:
        tied = np.bincount(units, weights=train_only) > 0
        train_only = tied[units]
    rows = np.flatnonzero(labeled & ~train_only)
    if not len(rows) and population.target != "number" and not (population.extra & labeled).any():
        _refuse_all_single(population, units)
    needed = 1 if scheme.given else len(_fractions(config))
    if len(rows) < needed:
        raise KitError(
            "folds.count",
            f"asks for {counted(needed, 'fold')}, and only {counted(len(rows), 'image')} can be validated",
            "Every fold needs an image",
            "Lower folds.count.",
            code="too_few_images",
        )
    return rows


def _refuse_all_single(population: Population, units: np.ndarray | None) -> None:
    """Refuse samples whose classes all have a single image or a single unit: nothing can be validated."""
    names = population.classes()[2]
    if not names:
        return
    what, remedy = "image", "Add images."
    if units is not None:
        what = "group, or one set of duplicates"
        remedy = (
            "Add images, or set a `folds.scheme` without groups if images of a group may be on both sides."
        )
    shown = sorted(names, key=natural_key)
    others = [name for name in shown if not NUMBER.fullmatch(name)]
    if 2 * len(others) < len(names):
        remedy = "If the labels are measurements, set `competition.task: regression`."
        if others:
            count = counted(len(others), "label that is no number", "labels that are no numbers")
            remedy = f"{remedy[:-1]}, and fix {count} ({first_few(others)})."
    raise KitError(
        "folds",
        f"every class has a single {what} ({counted(len(names), 'class', 'classes')}, {first_few(shown)})",
        "A class needs two: one to train on while the other is validated",
        remedy,
        code="class_too_small",
    )


def _single_in_class(
    population: Population, units: np.ndarray | None, config: FoldsConfig, candidates: np.ndarray
) -> np.ndarray:
    """Return which candidates are the only image or the only unit of a class, (N,), bool."""
    rows, codes, names = population.classes()
    if units is not None:
        num_units = units.max() + 1
        codes_of_units = np.unique(codes.astype(np.int64) * num_units + units[rows]) // num_units
    single = np.bincount(codes if units is None else codes_of_units, minlength=len(names)) == 1
    found = np.zeros(len(candidates), dtype=bool)
    found[rows[single[codes]]] = True
    found &= candidates
    if found.any() and config.rare == "refuse":
        classes = sorted({names[c] for c in codes[found[rows]] if single[c]}, key=natural_key)
        what = "image" if units is None else "image, group or set of duplicates"
        raise KitError(
            "folds",
            f"{counted(len(classes), 'class has', 'classes have')} a single {what} ({first_few(classes)})",
            "A class needs two: one to train on while the other is validated",
            "Add images, or set `folds.rare: train` to use such images only for training.",
            code="class_too_small",
        )
    return found


def _fractions(config: FoldsConfig) -> np.ndarray:
    return np.array(config.fractions or [1 / config.count] * config.count)


def _assigned_folds(
    population: Population,
    rows: np.ndarray,
    units: np.ndarray | None,
    scheme: Scheme,
    config: FoldsConfig,
    seed: int,
) -> np.ndarray:
    """Return the folds of some rows, in their order."""
    rank = canonical_rank(population.samples["id"].iloc[rows], seed)
    tied = None if units is None else pd.factorize(units[rows])[0]
    fractions = _fractions(config)
    if scheme.stratified and population.target == "classes":
        from kit.folds.multilabel_stratified import iterative_stratification  # imports scipy, which is slow

        parts = iterative_stratification(population.matrix[rows], rank, fractions, tied, config.order)
    else:
        strata = _strata(population, rows, len(fractions)) if scheme.stratified else np.zeros(len(rows), int)
        parts = stratified_assignment(strata, rank, fractions, tied)
    return HOLDOUT_SIDES[parts] if config.fractions else parts


def _strata(population: Population, rows: np.ndarray, num_folds: int) -> np.ndarray:
    """Return the class of each row, or the range of its number, as codes (R,) from 0."""
    if population.target == "number":
        return quantile_bins(population.values[rows], num_folds)[0]
    codes: np.ndarray = pd.factorize(population.samples[LABEL].iloc[rows])[0]
    return codes


def _given_folds(population: Population, rows: np.ndarray) -> np.ndarray:
    """Return the organizers' folds of some rows: 0..K-1 in natural order of their names; -1 stays -1."""
    given = population.samples["given_fold"].iloc[rows]
    names = sorted(set(given) - {str(TRAIN_ONLY), ""}, key=natural_key)
    numbers = {name: number for number, name in enumerate(names)}
    folds: np.ndarray = given.map(numbers).fillna(TRAIN_ONLY).to_numpy(dtype=np.int64)
    return folds


def load_folds(path: Path, population: Population, config: FoldsConfig) -> Folds:
    """Return the folds of a CSV, after checking that they are a partition of ``population``.

    Raises:
        KitError: The file is missing or damaged, or is not a partition of these samples.
    """
    folds = read_folds(path, population.label_columns)
    check_partition(folds, population, units_for(config, population), path)
    return folds


def ensure_folds(
    path: Path,
    population: Population,
    config: FoldsConfig,
    on_difference: Literal["use", "refuse", "replace"] = "use",
) -> tuple[Folds, Literal["made", "existing", "different"]]:
    """Return the folds of a competition; make the CSV if it does not exist, with rows in natural order.

    Args:
        on_difference: What to do if the CSV differs from the partition that ``config`` gives.

    Returns:
        The folds, and whether they were made now, were there already, or were there and differ from the
        partition that ``config`` gives (they are used unchanged).

    Raises:
        KitError: The CSV is not a partition of these samples, or differs and ``on_difference`` is ``refuse``.
    """
    if not path.exists() or on_difference == "replace":
        folds = _in_natural_order(make_folds(population, config))
        save_folds(folds, path)
        return folds, "made"
    if population.corrected:
        follow_corrections(path, population)
    folds, wanted = load_folds(path, population, config), make_folds(population, config)
    same_size = wanted.models == folds.models
    was_corrected = bool(population.corrected) and same_size  # other labels would be split in another way
    if wanted.fingerprint == folds.fingerprint or was_corrected:
        return folds, "existing"
    if on_difference == "use" and same_size:
        return folds, "different"
    differs = f"differs from the partition of folds.seed {config.seed}"
    raise KitError(
        path,
        differs
        if same_size
        else f"has {counted(folds.models, 'fold')}, and the config makes {wanted.models}",
        "Experiments of one competition share one partition, so that scores are comparable",
        "Keep it (set the section folds as it was), or replace it: `kit folds CONFIG --force`.",
        code="folds_differ",
    )


def _in_natural_order(folds: Folds) -> Folds:
    table = folds.table.sort_values("id", key=lambda ids: ids.map(natural_key), ignore_index=True)
    return replace(folds, table=table)

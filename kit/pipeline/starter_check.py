"""Check before images are read that ``kit run`` accepts a starter config, and how many folds it can have."""

from __future__ import annotations

import pandas as pd

from kit.competition.opened import OpenedCompetition
from kit.competition.samples import Competition, load_competition
from kit.config import Config
from kit.errors import KitError
from kit.folds.groups import Population
from kit.folds.make import make_folds
from kit.runtime.progress import SILENT
from kit.storage.workspace import Workspace
from kit.submission.format import format_for
from kit.training.data import training_data
from kit.training.scorable import check_scorable

# Mistakes that a value of the config solves; all others need other data.
SOLVED_BY_CONFIG = frozenset(
    {"case_differs", "cells_blank", "class_too_small", "images_unlisted", "metric_not_computable"}
)
SOLVED_BY_FEWER_FOLDS = frozenset({"metric_not_computable", "too_few_images"})


def check_starter(config: Config, workspace: Workspace) -> tuple[int, KitError | None]:
    """Return the number of folds that can be made and scored, and why it is not the config's.

    Raises:
        KitError: ``kit run`` would refuse the config, the tables or the labels.
    """
    loaded = load_competition(config.competition, workspace)
    if config.submission is not None and not loaded.test.empty:
        format_for(config.submission, loaded)
    refused: KitError | None = None
    for count in range(config.folds.count, 1, -1):
        try:
            _check_folds(config, loaded, count)
        except KitError as error:
            if error.code not in SOLVED_BY_FEWER_FOLDS:
                raise
            refused = refused or error
        else:
            return count, refused
    raise refused or AssertionError("folds.count is 2 or more")


def _check_folds(config: Config, loaded: Competition, count: int) -> None:
    """Refuse a number of folds that cannot be made, or on which the metric is undefined."""
    population = Population(loaded.train, loaded.label_columns)
    folds = make_folds(population, config.folds.model_copy(update={"count": count}))
    tables = (loaded.train, *loaded.held_out.values(), loaded.test)
    unread = pd.concat([table[["path"]] for table in tables]).drop_duplicates().assign(digest="")
    data = training_data(OpenedCompetition(loaded, loaded, unread), folds)
    check_scorable(data, range(folds.models), SILENT)

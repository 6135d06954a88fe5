"""Every recipe trains for real: an epoch or more of a few digits, and ends with a score and finite weights."""

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from kit.storage.workspace import Workspace
from kit.training import experiment
from tests.benchmarks.recipes import RECIPES, digits_workspace, recipe_config


@pytest.fixture(scope="module")
def few_digits(tmp_path_factory) -> Workspace:
    return digits_workspace(tmp_path_factory.mktemp("recipes"), per_class=10)


COVERED_ELSEWHERE = (
    *("train.loss=", "train.optimizer=", "train.schedule=", "train.lr="),
    *("model.head=", "model.pool=", "augment.preset=", "augment={pipeline"),
)


def everyday_or_slow(name: str, overrides: list[str]):
    """Mark a recipe slow if it varies only what other tests of tests/engine run for every entry of a registry."""
    covered = bool(overrides) and all(each.startswith(COVERED_ELSEWHERE) for each in overrides)
    return pytest.param(name, marks=pytest.mark.slow if covered else ())


@pytest.mark.parametrize("name", [everyday_or_slow(*recipe) for recipe in RECIPES.items()])
def test_every_recipe_trains(few_digits, name):
    config = recipe_config(list(RECIPES).index(name), RECIPES[name], epochs=2)
    run = experiment.train(config, few_digits, only=[0])
    history = pd.read_csv(run.fold(0).history)
    assert len(history) == 2
    assert np.isfinite(history[["loss", "score"]]).all(axis=None)
    assert history["score"].between(0, 1).all()
    weights = load_file(run.fold(0).model)
    assert all(np.isfinite(tensor).all() for tensor in weights.values())

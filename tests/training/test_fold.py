"""Notes about the model and the class balance are shown once per run, for the first fold that it trains."""

import pytest

from kit.config.load import load_config
from kit.training import experiment
from tests.conftest import Heard, write_config

OVERRIDES = ["image.mean=[0.4, 0.4, 0.4]", "train.balance=oversample", "train.epochs=1"]


def notes_of(tiny, folds) -> Heard:
    heard = Heard()
    experiment.train(load_config(write_config(tiny), OVERRIDES), tiny, only=folds, progress=heard)
    return heard


def count(heard, text) -> int:
    return sum(text in line for line in heard.lines)


@pytest.mark.parametrize("folds", [[0], [1], []])
def test_notes_are_shown_for_the_first_fold_of_each_run(tiny, folds):
    heard = notes_of(tiny, folds)
    assert count(heard, "balance oversample") == 1
    assert count(heard, "image.mean") == 1


def test_a_later_run_of_the_remaining_folds_shows_the_notes_again(tiny):
    notes_of(tiny, [0])
    heard = notes_of(tiny, [])
    assert count(heard, "fold 0 is already trained") == 1
    assert count(heard, "balance oversample") == 1
    assert count(heard, "image.mean") == 1

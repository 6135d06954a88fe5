"""Notes about the model and the class balance are shown once per run, for the first fold that it trains."""

import pytest

from kit.config.load import load_config
from kit.training import experiment
from tests.conftest import RecordedProgress, write_config

OVERRIDES = ["image.mean=[0.4, 0.4, 0.4]", "train.balance=oversample", "train.epochs=1"]


def notes_of(tiny, folds) -> RecordedProgress:
    progress = RecordedProgress()
    experiment.train(load_config(write_config(tiny), OVERRIDES), tiny, only=folds, progress=progress)
    return progress


def count(progress, text) -> int:
    return sum(text in line for line in progress.lines)


@pytest.mark.parametrize("folds", [[0], [1], []])
def test_notes_are_shown_for_the_first_fold_of_each_run(tiny, folds):
    progress = notes_of(tiny, folds)
    assert count(progress, "balance oversample") == 1
    assert count(progress, "image.mean") == 1


def test_a_later_run_of_the_remaining_folds_shows_the_notes_again(tiny):
    notes_of(tiny, [0])
    progress = notes_of(tiny, [])
    assert count(progress, "fold 0 is already trained") == 1
    assert count(progress, "balance oversample") == 1
    assert count(progress, "image.mean") == 1

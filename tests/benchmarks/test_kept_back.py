"""The test set of ``score_per_hour``: images that no training sees, with a known score."""

import numpy as np
import pandas as pd

from kit.config.load import load_config
from kit.metrics.bootstrap import Interval
from kit.predictions import FinalPredictions
from kit.training.data import prepare
from tests.benchmarks.kept_back import keep_back
from tests.benchmarks.single_folds import KeptBackScore


def test_images_kept_back_are_the_test_set_and_in_no_training_table(tmp_path):
    made = keep_back("digits", tmp_path)
    data = prepare(load_config(made.default), made.workspace)
    assert set(data.competition.test["id"]) == set(made.truth.index)
    assert not set(data.samples["id"]) & set(made.truth.index)
    assert len(data.samples) + len(made.truth) == 1437
    committed, default = load_config(made.committed), load_config(made.default)
    assert committed.competition == default.competition
    assert committed.folds == default.folds


def test_the_truth_scores_one_and_wrong_labels_zero(tmp_path):
    made = keep_back("digits", tmp_path)
    right = pd.DataFrame({"id": made.truth.index, "label": made.truth.idxmax(axis=1).to_numpy()})
    file = tmp_path / "submission.csv"
    right.sample(frac=1, random_state=0).to_csv(file, index=False)  # rows in any order
    assert made.score(file) == 1.0
    right["label"] = right["label"].map({str(k): str((k + 1) % 10) for k in range(10)})
    right.to_csv(file, index=False)
    assert made.score(file) == 0.0


def test_two_scores_agree_when_they_differ_by_no_more_than_the_noise_of_both():
    kept = KeptBackScore(0.60, Interval(0.52, 0.68))
    assert not kept.is_covered_by(0.64, 0.76)
    assert kept.agrees_with(0.70, 0.64, 0.76)  # 0.10 apart; the half widths are 0.08 and 0.06
    assert not kept.agrees_with(0.71, 0.65, 0.77)


def test_rows_of_predictions_are_found_by_id(tmp_path):
    made = keep_back("digits", tmp_path)
    ids = list(reversed(made.truth.index))
    one_hot = made.truth.loc[ids].to_numpy(dtype="float32")
    right = FinalPredictions(one_hot, one_hot.argmax(axis=1))
    assert made.scorer_of(ids, right)(np.ones((1, len(ids)))) == 1.0

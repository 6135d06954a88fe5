"""The test set of ``score_per_hour``: images that no training sees, with a known score."""

import pandas as pd

from kit.config.load import load_config
from kit.training.data import prepare
from tests.benchmarks.kept_back import keep_back


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

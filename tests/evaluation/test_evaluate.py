"""The evaluation of a trained run agrees with scikit-learn on the files of the run."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from kit.evaluation.evaluate import evaluate
from kit.evaluation.oof_with_labels import load_labeled_oof
from kit.leaderboard.entries import read_leaderboard
from kit.predictions import load_oof
from kit.report.evaluations import evaluation_tables
from kit.report.leaderboard import leaderboard_tables
from kit.storage.run_artifacts import read_scores


@pytest.fixture(scope="module")
def truth(trained):
    """OOF predictions, labels, folds and predicted classes of a run, joined by id."""
    oof = load_oof(trained.run("tiny", "a"))
    table = pd.read_csv(trained.folds("tiny"), dtype=str).set_index("id").loc[list(oof.ids)]
    predicted = np.array(oof.classes)[oof.probs.argmax(axis=1)]
    return oof, table["label"].to_numpy(), table["fold"].astype(int).to_numpy(), predicted


def test_scores_agree_with_scikit_learn(trained, truth):
    _, labels, folds, predicted = truth
    found = evaluate(trained.run("tiny", "a"), trained)
    assert found.cv == pytest.approx(accuracy_score(labels, predicted))
    by_fold = [accuracy_score(labels[folds == k], predicted[folds == k]) for k in (0, 1)]
    assert found.folds == pytest.approx(by_fold)
    assert found.mean == pytest.approx(np.mean(by_fold))
    assert found.sd == pytest.approx(np.std(by_fold, ddof=1))


def test_scores_per_class_agree_with_scikit_learn(trained, truth):
    oof, labels, _, predicted = truth
    expected = precision_recall_fscore_support(labels, predicted, labels=list(oof.classes), zero_division=0)
    found = evaluate(trained.run("tiny", "a"), trained).classes
    assert [c.name for c in found] == list(oof.classes)
    for name, values in zip(("precision", "recall", "f1", "support"), expected, strict=True):
        assert [getattr(c, name) for c in found] == pytest.approx(list(values)), name


def test_confusions_count_every_wrong_prediction(trained, truth):
    _, labels, _, predicted = truth
    found = evaluate(trained.run("tiny", "a"), trained).confused
    assert sum(c.count for c in found) == (labels != predicted).sum()
    assert all(c.true != c.predicted for c in found)


def test_metrics_json_equals_the_evaluation(trained):
    run = trained.run("tiny", "a")
    found = evaluate(run, trained)
    assert read_scores(run)[0] == found.as_dict()
    assert "nested" not in found.as_dict()


def test_targets_are_joined_by_id(trained, truth):
    oof, labels, folds, _ = truth
    scored = load_labeled_oof(trained.run("tiny", "a"), trained)
    assert [oof.classes[t] for t in scored.targets] == list(labels)
    assert [rows.tolist() for rows in scored.validated] == [(folds == k).tolist() for k in (0, 1)]


def test_evaluation_and_leaderboard_tables_have_all_rows(trained):
    found = evaluate(trained.run("tiny", "a"), trained)
    rows = {table.columns[0].header: table.row_count for table in evaluation_tables(found)}
    assert rows["out-of-fold"] == 1
    assert rows["class"] == 3
    assert rows["other metrics"] == len(found.others)
    assert rows["highest log loss"] == 10
    entries = read_leaderboard(trained).entries
    assert leaderboard_tables(entries)[0].row_count == len(entries) == 2
    assert {e.submission for e in entries} == {"submissions/tiny/a.csv", "submissions/tiny/b.csv"}
    assert all(e.minutes is not None and e.minutes > 0 for e in entries)

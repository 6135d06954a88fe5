"""Evaluate with postprocessing: fitted on OOF rows, scored on folds left out, stored with the run and reported."""

from io import StringIO

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import confusion_matrix, f1_score, multilabel_confusion_matrix

from kit import pipeline
from kit.config import Component
from kit.evaluation.evaluate import evaluate
from kit.evaluation.oof_with_labels import load_labeled_oof
from kit.postprocess.postprocessing import fit_steps
from kit.report.evaluations import evaluation_tables
from kit.storage.files import read_json
from kit.storage.run_artifacts import read_scores
from tests.conftest import raises_kit_error
from tests.evaluation.runs import write_held_out, write_run
from tests.postprocess.test_postprocessing import multilabel_rows

CLASSES = ("a", "b", "c", "d")


@pytest.fixture
def multilabel_run(workspace):
    """A multilabel run whose probabilities are all too low."""
    rows = multilabel_rows()
    return write_run(workspace, "multilabel", "f1_macro", rows.targets, rows.probs, CLASSES)


def test_cv_is_the_nested_score_with_the_fitted_postprocessing(workspace, multilabel_run):
    found = evaluate(multilabel_run, workspace)
    [trial] = found.decisions
    assert trial.shipped
    assert found.cv == trial.score < trial.fitted
    assert found.cv > found.plain
    assert trial.gain == pytest.approx(found.cv - found.plain)
    assert 0 < trial.interval.low < trial.gain < trial.interval.high
    assert found.interval.low < found.cv < found.interval.high
    scored = load_labeled_oof(multilabel_run, workspace)
    assert found.plain == pytest.approx(f1_score(scored.targets, scored.oof.probs >= 0.5, average="macro"))
    assert read_scores(multilabel_run)[0] == found.as_dict()
    [step] = read_json(multilabel_run.decision)["steps"]
    assert step["name"] == "thresholds"
    assert len(step["values"]) == 4


def test_a_fold_is_scored_with_thresholds_fitted_on_the_other_folds(workspace, multilabel_run):

    found, scored = evaluate(multilabel_run, workspace), load_labeled_oof(multilabel_run, workspace)
    for k, own in enumerate(scored.validated):
        rows = scored.rows
        final = fit_steps([Component(name="thresholds")], rows.subset(~own)).apply(rows.probs[own], rows.task)
        assert found.folds[k] == pytest.approx(f1_score(rows.targets[own], final.decided, average="macro"))


def test_the_last_requested_steps_are_stored_and_used_again(workspace, multilabel_run):
    steps = [Component(name="thresholds", at_most=1)]
    once = evaluate(multilabel_run, workspace, steps)
    assert evaluate(multilabel_run, workspace).cv == once.cv
    assert read_json(multilabel_run.decision)["asked"] == [{"name": "thresholds", "at_most": 1}]
    plain = evaluate(multilabel_run, workspace, [Component(name="none")])
    assert plain.decisions == []
    assert plain.cv == plain.plain
    assert read_json(multilabel_run.decision)["steps"] == []


def test_the_steps_come_from_the_config(workspace):
    rows = multilabel_rows()
    run = write_run(
        workspace,
        "multilabel",
        "f1_macro",
        rows.targets,
        rows.probs,
        CLASSES,
        decide=["temperature", {"name": "thresholds", "per": "all"}],
    )
    found = evaluate(run, workspace)
    assert [trial.steps for trial in found.decisions] == [["temperature", "thresholds"]]
    assert len(set(read_json(run.decision)["steps"][1]["values"])) == 1


def test_held_out_rows_are_scored_with_the_shipped_thresholds(workspace, multilabel_run):
    rows = multilabel_rows(seed=1)
    write_held_out(workspace, multilabel_run, rows.targets, rows.probs, CLASSES)
    found = evaluate(multilabel_run, workspace)
    values = read_json(multilabel_run.decision)["steps"][0]["values"]
    expected = f1_score(rows.targets, rows.probs >= np.array(values), average="macro")
    assert found.held_out["later"] == pytest.approx(expected)


def test_an_unsuitable_step_is_refused_and_nothing_is_written(workspace, multilabel_run):
    with raises_kit_error("step_unsuitable"):
        evaluate(multilabel_run, workspace, [Component(name="cut_points")])
    assert not multilabel_run.decision.exists()
    assert not multilabel_run.metrics.exists()


def test_a_fold_that_cannot_be_scored_is_reported(workspace):
    rng = np.random.default_rng(0)
    targets = (rng.random((100, 4)) < 0.5).astype(np.float32)
    folds = np.arange(100) % 5
    targets[folds == 2, 1] = 0
    run = write_run(workspace, "multilabel", "roc_auc", targets, rng.random((100, 4)), CLASSES, folds)
    found = evaluate(run, workspace)
    assert found.folds[2] is None
    assert all(score is not None for k, score in enumerate(found.folds) if k != 2)
    assert "no positive" in found.not_computed["fold 2"]
    assert found.mean == pytest.approx(np.mean([s for s in found.folds if s is not None]))
    pipeline.evaluate(run, workspace=workspace)
    assert "fold 2" in run.report.read_text()


def test_another_metric_that_cannot_be_computed_is_listed_with_its_reason(workspace):
    targets = np.zeros((40, 4), dtype=np.float32)
    targets[::2, :3] = 1
    run = write_run(
        workspace, "multilabel", "f1_macro", targets, np.random.default_rng(0).random((40, 4)), CLASSES
    )
    found = {other.metric: other for other in evaluate(run, workspace).others}
    assert found["roc_auc"].score is None
    assert "no positive" in found["roc_auc"].why
    assert found["exact_match"].score is not None
    areas = {c.name: c.roc_auc for c in evaluate(run, workspace).classes}
    assert areas["d"] is None
    assert areas["a"] is not None


def test_confusion_counts_are_written_as_a_table(workspace, multilabel_run):
    evaluate(multilabel_run, workspace, [Component(name="none")])
    scored = load_labeled_oof(multilabel_run, workspace)
    table = pd.read_csv(multilabel_run.confusion, index_col="class")
    expected = multilabel_confusion_matrix(scored.targets, scored.oof.probs >= 0.5)
    columns = ["true_negative", "false_positive", "false_negative", "true_positive"]
    np.testing.assert_array_equal(table[columns].to_numpy(), expected.reshape(4, 4))
    rng = np.random.default_rng(0)
    truth, probs = rng.integers(0, 3, 90), rng.dirichlet(np.ones(3), 90)
    run = write_run(workspace, "multiclass", "accuracy", truth, probs, ("x", "y", "z"), name="exclusive")
    evaluate(run, workspace)
    table = pd.read_csv(run.confusion, index_col="class")
    np.testing.assert_array_equal(table.to_numpy(), confusion_matrix(truth, probs.argmax(axis=1)))


def test_grouped_rows_give_a_wider_interval(workspace):
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 10)
    right = np.repeat(rng.random(40) < 0.7, 10)  # a group is right or wrong as a whole
    truth = rng.integers(0, 2, 400)
    probs = np.where(right[:, None], np.eye(2)[truth], 1 - np.eye(2)[truth]) * 0.8 + 0.1
    widths = []
    for name, row_groups in (("ungrouped", None), ("grouped", groups)):
        run = write_run(
            workspace, "binary", "accuracy", truth, probs, ("no", "yes"), groups % 5, name, row_groups
        )
        found = evaluate(run, workspace)
        widths.append(found.interval.high - found.interval.low)
    assert widths[1] > 2 * widths[0]


def test_suspected_label_errors_are_written_as_a_table(workspace):
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 300)
    logits = 5 * np.eye(3)[truth] + rng.normal(size=(300, 3))
    labels = truth.copy()
    labels[:10] = (truth[:10] + 1) % 3
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    run = write_run(workspace, "multiclass", "accuracy", labels, probs, ("x", "y", "z"))
    found = evaluate(run, workspace)
    table = pd.read_csv(run.suspects)
    assert len(table) == found.num_suspects
    assert set(table["id"][:9]) <= {f"id {n:04d}" for n in range(10)}
    assert found.hardest[0].id in {f"id {n:04d}" for n in range(10)}


def test_terminal_tables_and_page_show_the_evaluation(workspace, multilabel_run):
    from rich.console import Console

    console = Console(width=200, record=True, file=StringIO())
    for table in evaluation_tables(pipeline.evaluate(multilabel_run, workspace=workspace)):
        console.print(table)
    text = console.export_text()
    for word in ("95 % interval", "applied", "thresholds", "exact_match", "highest log loss", "ROC AUC"):
        assert word in text, word
    page = multilabel_run.report.read_text()
    for word in ("Postprocessing", "applied", "Highest log loss", "Other metrics"):
        assert word in page, word


def test_ordinal_grades_get_cut_points(workspace):
    from tests.postprocess.test_postprocessing import ordinal_rows

    rows = ordinal_rows()
    run = write_run(workspace, "ordinal", "quadratic_kappa", rows.targets, rows.probs, tuple("01234"))
    found = evaluate(run, workspace)
    assert [trial.steps for trial in found.decisions if trial.shipped] == [["cut_points"]]
    assert found.cv > found.plain


def test_holdout_rows_are_split_by_groups_for_nested_scoring(workspace):
    rng = np.random.default_rng(0)
    truth, groups = rng.integers(0, 2, 200), [f"g{n % 23}" if n % 4 else "" for n in range(200)]
    run = write_run(
        workspace,
        "binary",
        "f1",
        truth,
        rng.dirichlet([1, 1], 200),
        ("no", "yes"),
        np.zeros(200, int),
        groups=groups,
    )
    scored = load_labeled_oof(run, workspace)
    table = pd.DataFrame({"part": scored.parts, "unit": scored.units, "group": groups})
    named = table[table["group"] != ""]
    assert (named.groupby("group")["part"].nunique() == 1).all()
    assert (named.groupby("group")["unit"].nunique() == 1).all()
    ungrouped = table[table["group"] == ""]
    assert ungrouped["unit"].is_unique  # rows with a blank group are not grouped
    assert set(table["part"]) == set(range(5))
    found = pipeline.evaluate(run, workspace=workspace)
    assert len(found.folds) == 1


def test_a_single_group_is_scored_without_interval_and_postprocessing(workspace):
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 60)
    run = write_run(
        workspace,
        "binary",
        "f1",
        truth,
        rng.dirichlet([1, 1], 60),
        ("no", "yes"),
        np.zeros(60, int),
        groups=["g"] * 60,
    )
    found = pipeline.evaluate(run, workspace=workspace)
    assert found.decisions == []
    assert read_json(run.metrics)["low"] is None
    assert "too few rows or groups" in run.report.read_text()
    from kit.report.evaluations import evaluation_tables as tables

    assert tables(found)


def test_held_out_predictions_of_other_models_are_not_scored(workspace, multilabel_run):
    rows = multilabel_rows(seed=1)
    write_held_out(workspace, multilabel_run, rows.targets, rows.probs, CLASSES, models="others")
    found = evaluate(multilabel_run, workspace)
    assert found.held_out == {"later": None}
    assert "predicted by other models" in found.not_computed["later"]

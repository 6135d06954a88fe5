"""A submission is compared with the run of its config, else with the best run of the same metric."""

import pytest

from kit.competition.samples import load_competition
from kit.config.load import load_config
from kit.storage.run_artifacts import write_scores
from kit.submission.check_context import check_context
from kit.submission.format import format_for
from tests.conftest import RecordedProgress
from tests.submission.runs import write_submittable_run

CLASSES = ("bus", "car", "van")
TEST_IDS = tuple(f"t{number}" for number in range(24))
SAMPLE = "id,answer\n" + "".join(f"{i},bus\n" for i in TEST_IDS)
PROBS_SAMPLE = "id,bus,car,van\n" + "".join(f"{i},0.2,0.3,0.5\n" for i in TEST_IDS)


def write_run_with_cv(workspace, name, cv, metric="accuracy", higher=True):
    run = write_submittable_run(workspace, "multiclass", "accuracy", CLASSES, TEST_IDS, SAMPLE, name=name)
    write_scores(run, {"metric": metric, "higher_is_better": higher, "cv": cv}, {})
    return run


def compared_run(workspace, metric="accuracy", progress=None):
    """Return the name of the run that a file is compared with if its own run has no test predictions."""
    sample = SAMPLE if metric == "accuracy" else PROBS_SAMPLE
    own = write_submittable_run(workspace, "multiclass", metric, CLASSES, TEST_IDS, sample, name="own")
    own.test.unlink()
    config = load_config(own.config)
    competition = load_competition(config.competition, workspace)
    submission_format = format_for(config.submission, competition)
    file = workspace.root / "mine.csv"
    return check_context(
        config, competition, submission_format, workspace, file, progress=progress or RecordedProgress()
    ).predictions_source


def test_the_run_of_the_config_comes_first(workspace):
    write_run_with_cv(workspace, "best", 0.9)
    own = write_submittable_run(workspace, "multiclass", "accuracy", CLASSES, TEST_IDS, SAMPLE, name="own")
    config = load_config(own.config)
    competition = load_competition(config.competition, workspace)
    submission_format = format_for(config.submission, competition)
    context = check_context(config, competition, submission_format, workspace, workspace.root / "x")
    assert context.predictions_source == "made/own"


def test_only_scores_of_the_same_metric_are_compared(workspace):
    write_run_with_cv(workspace, "good", 0.8)
    write_run_with_cv(workspace, "better", 0.85)
    write_run_with_cv(workspace, "loss", 1.9, metric="log_loss", higher=False)
    assert compared_run(workspace) == "made/better"


def test_the_lowest_score_is_the_best_where_lower_is_better(workspace):
    write_run_with_cv(workspace, "low", 0.3, metric="log_loss", higher=False)
    write_run_with_cv(workspace, "high", 0.5, metric="log_loss", higher=False)
    write_run_with_cv(workspace, "other", 0.1)
    assert compared_run(workspace, metric="log_loss") == "made/low"


def test_a_run_without_a_score_is_skipped(workspace):
    write_run_with_cv(workspace, "none", None)
    write_run_with_cv(workspace, "some", 0.1)
    assert compared_run(workspace) == "made/some"


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"metric": "accuracy"}', '{"metric": "accuracy", "cv": "high"}']
)
def test_a_run_with_damaged_scores_is_skipped_and_reported(workspace, content):
    write_run_with_cv(workspace, "fine", 0.1)
    write_run_with_cv(workspace, "damaged", 0.9).metrics.write_text(content)
    progress = RecordedProgress()
    assert compared_run(workspace, progress=progress) == "made/fine"
    (line,) = progress.lines
    assert "made/damaged" in line and "metrics.json" in line


def test_without_another_usable_run_the_run_of_the_config_is_named(workspace):
    write_run_with_cv(workspace, "damaged", 0.9).metrics.write_text("{")
    assert compared_run(workspace) == "made/own"


def test_damaged_predictions_are_told_and_not_compared(trained_copy):
    from kit import pipeline

    run = trained_copy.run("tiny", "a")
    run.test.write_bytes(b"PAR1")
    progress = RecordedProgress()
    file = trained_copy.submission("tiny", "a").path
    pipeline.check(file, trained_copy.config("a"), workspace=trained_copy, progress=progress)
    assert "is not compared with the predictions of tiny/a" in progress

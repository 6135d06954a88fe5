"""What a submission is compared with: the config's own run, or the best run of the same metric."""

import pytest

from kit.competition.samples import load_competition
from kit.config.load import load_config
from kit.storage.files import write_json
from kit.storage.workspace import Workspace
from kit.submission.check_context import check_context
from kit.submission.format import format_for
from tests.conftest import RecordedProgress
from tests.submission.made import made_submission

CLASSES = ("bus", "car", "van")
TEST = tuple(f"t{number}" for number in range(24))
SAMPLE = "id,answer\n" + "".join(f"{i},bus\n" for i in TEST)
PROBS_SAMPLE = "id,bus,car,van\n" + "".join(f"{i},0.2,0.3,0.5\n" for i in TEST)


@pytest.fixture
def place(tmp_path) -> Workspace:
    return Workspace.open(tmp_path)


def run_with(place, name, cv, metric="accuracy", higher=True):
    sample = SAMPLE if metric == "accuracy" else PROBS_SAMPLE
    run = made_submission(place, "multiclass", metric, CLASSES, TEST, sample, name=name)
    write_json(run.metrics, {"metric": metric, "higher_is_better": higher, "cv": cv})
    return run


def compared_with(place, metric="accuracy", progress=None):
    """Return the run with which a file of an experiment without predictions is compared."""
    sample = SAMPLE if metric == "accuracy" else PROBS_SAMPLE
    own = made_submission(place, "multiclass", metric, CLASSES, TEST, sample, name="own")
    own.test.unlink()
    config = load_config(own.config)
    competition = load_competition(config.competition, place)
    form = format_for(config.submission, competition)
    file = place.root / "mine.csv"
    return check_context(
        config, competition, form, place, file, progress=progress or RecordedProgress()
    ).predictions_source


def test_the_configs_own_run_comes_first(place):
    run_with(place, "best", 0.9)
    own = made_submission(place, "multiclass", "accuracy", CLASSES, TEST, SAMPLE, name="own")
    config = load_config(own.config)
    competition = load_competition(config.competition, place)
    form = format_for(config.submission, competition)
    assert check_context(config, competition, form, place, place.root / "x").predictions_source == "made/own"


def test_only_scores_of_the_same_metric_are_compared(place):
    run_with(place, "good", 0.8)
    run_with(place, "better", 0.85)
    run_with(place, "loss", 1.9, metric="log_loss", higher=False)
    assert compared_with(place) == "made/better"


def test_the_lowest_score_is_the_best_where_lower_is_better(place):
    run_with(place, "low", 0.3, metric="log_loss", higher=False)
    run_with(place, "high", 0.5, metric="log_loss", higher=False)
    run_with(place, "other", 0.1)
    assert compared_with(place, metric="log_loss") == "made/low"


def test_a_run_without_a_score_is_not_compared(place):
    run_with(place, "none", None)
    run_with(place, "some", 0.1)
    assert compared_with(place) == "made/some"


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"metric": "accuracy"}', '{"metric": "accuracy", "cv": "high"}']
)
def test_a_run_with_damaged_scores_is_skipped_and_named(place, content):
    run_with(place, "fine", 0.1)
    run_with(place, "damaged", 0.9).metrics.write_text(content)
    progress = RecordedProgress()
    assert compared_with(place, progress=progress) == "made/fine"
    (line,) = progress.lines
    assert "made/damaged" in line and "metrics.json" in line


def test_without_any_usable_run_the_own_run_is_named(place):
    run_with(place, "damaged", 0.9).metrics.write_text("{")
    assert compared_with(place) == "made/own"

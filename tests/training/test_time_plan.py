import pytest

from kit.engine.fit.fold_state import FoldState
from kit.runtime.deadline import Deadline
from kit.training.time_plan import TimePlan, epoch_costs
from tests.conftest import RecordedProgress


def report(seconds_left: float | None, epochs_done: int = 1, folds_after: int = 1, costs=(1.0,) * 10) -> str:
    """Return the note on two folds of ten epochs (60 s, 10 s of that validation) and 1000 predictions (10/s)."""
    progress = RecordedProgress()
    plan = TimePlan(
        list(costs), validated=100, num_predictions=1000, deadline=Deadline(seconds_left), progress=progress
    )
    state = FoldState(8, epoch=epochs_done, history=[{"seconds": 50.0, "validation_seconds": 10.0}])
    callback = plan.after_epoch(0, folds_after)
    callback(state)
    callback(state)
    assert len(progress.lines) <= 1
    return progress.lines[0] if progress.lines else ""


def test_without_a_deadline_nothing_is_reported():
    assert report(None) == ""


def test_the_plan_reports_training_validation_and_prediction():
    text = report(2000)
    assert "19 epochs in 2 folds need 19:00 (3:10 of that for validation), prediction 1:40" in text
    assert "both will finish 12:4" in text


def test_prediction_may_need_another_run():
    assert "training will finish, prediction needs another run" in report(1200)


@pytest.mark.parametrize(
    ("left", "where"),
    [
        (65, "epoch 3 of fold 0"),
        (541, "epoch 1 of fold number 1 after fold 0"),
        (790, "epoch 5 of fold number 1 after fold 0"),
    ],
)
def test_the_plan_names_the_epoch_where_training_stops(left, where):
    assert f"training will stop in about {where}; the same command resumes it" in report(left)


def test_epochs_cost_by_image_area():
    assert epoch_costs(4, {1: 112, 3: 224}) == [0.25, 0.25, 1, 1]
    assert "9 epochs in 1 fold needs 24:" in report(9000, folds_after=0, costs=[0.25] * 4 + [1.0] * 6)

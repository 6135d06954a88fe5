import pytest

from kit.engine.fit.fold_state import FoldState
from kit.runtime.deadline import Deadline
from kit.training.time_plan import TimePlan, epoch_costs
from tests.conftest import Heard


def told(seconds_left: float | None, epochs_done: int = 1, folds_after: int = 1, costs=(1.0,) * 10) -> str:
    """What is told of two folds of ten epochs of 60 s, 10 s of it validation, and 1000 predictions at 10/s."""
    heard = Heard()
    plan = TimePlan(list(costs), validated=100, asked=1000, deadline=Deadline(seconds_left), progress=heard)
    state = FoldState(8, epoch=epochs_done, history=[{"seconds": 50.0, "validation_seconds": 10.0}])
    tell = plan.after_epoch(0, folds_after)
    tell(state)
    tell(state)
    assert len(heard.lines) <= 1
    return heard.lines[0] if heard.lines else ""


def test_without_a_limit_there_is_nothing_to_plan():
    assert told(None) == ""


def test_what_fits_is_told_with_its_shares():
    text = told(2000)
    assert "19 epochs in 2 folds take 19:00 (3:10 of it validation), predicting 1:40" in text
    assert "all of it fits, 12:4" in text


def test_predicting_may_have_to_wait():
    assert "training fits, predicting is for the next run" in told(1200)


@pytest.mark.parametrize(
    ("left", "where"),
    [
        (65, "epoch 3 of fold 0"),
        (541, "epoch 1 of the 1. fold after fold 0"),
        (790, "epoch 5 of the 1. fold after fold 0"),
    ],
)
def test_where_it_will_stop_is_told(left, where):
    assert f"it will stop in about {where}, and the same command goes on" in told(left)


def test_images_that_grow_cost_by_their_area():
    assert epoch_costs(4, {1: 112, 3: 224}) == [0.25, 0.25, 1, 1]
    assert "9 epochs in 1 folds take 24:" in told(9000, folds_after=0, costs=[0.25] * 4 + [1.0] * 6)

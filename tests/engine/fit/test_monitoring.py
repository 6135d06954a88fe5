import torch

from kit.engine.fit.monitoring import DivergedError, SaveClock, Watch, all_finite


def test_losses_are_summed_and_the_first_non_finite_step_is_reported():
    watch = Watch(torch.device("cpu"))
    for step, loss in enumerate([1.0, 3.0]):
        watch.note(torch.tensor(loss), images=2, step=step)
    assert watch.read() == (8.0, 4, None)
    assert watch.read() == (0.0, 0, None)
    for step, loss in enumerate([1.0, float("inf"), float("nan"), 2.0], start=5):
        watch.note(torch.tensor(loss), images=2, step=step)
    assert watch.read()[1:] == (8, 6)


def test_a_divergence_error_names_epoch_step_and_images():
    error = DivergedError("runs/a/b/fold-2", 3, 11, ["a.png", "b.png", "c.png", "d.png"])
    assert (error.code, error.where) == ("loss_not_finite", "runs/a/b/fold-2")
    for fact in ("epoch 3", "step 12", "a.png, b.png, c.png"):
        assert fact in error.problem


def test_weights_with_nan_are_not_all_finite():
    good = torch.ones(3)
    assert all_finite([good, good])
    assert not all_finite([good, torch.tensor([1.0, float("nan")])])


def test_checkpoints_are_due_by_time_and_worth_it_if_they_are_fast():
    clock = SaveClock(every=3600)
    assert (clock.is_due(), clock.is_worth_it()) == (False, True)
    clock.saved(duration=1.0)
    assert (clock.is_due(), clock.is_worth_it()) == (False, False)
    assert clock.reserve == 7.0
    clock.last -= 51
    assert (clock.is_due(), clock.is_worth_it()) == (False, True)
    clock.last -= 3600
    assert clock.is_due()

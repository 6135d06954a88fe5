"""Schedules: a contract for every entry, and each schedule against timm, torch or a computation by hand."""

import math
import re

import pytest
import torch
from timm.scheduler.cosine_lr import CosineLRScheduler
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR, ReduceLROnPlateau, StepLR

from kit.config import Component, TrainConfig
from kit.engine.optim.schedules import build_schedule, check_schedule, kept_epoch, rates, schedules, shortfall
from tests.conftest import raises_kit_error

NEEDED = {"step": {"every": 3}}


def component(name, **options):
    return Component(name=name, **(NEEDED.get(name, {}) | options))


def make_optimizer(*scales):
    parameters = [torch.nn.Parameter(torch.zeros(1)) for _ in scales or (1,)]
    scaled = zip(parameters, scales or (1,), strict=True)
    return SGD([{"params": [p], "lr_scale": scale} for p, scale in scaled], lr=0.1)


def step_rates(name, epochs=10, steps=4, lr=0.1, scores=None, higher_is_better=True, **options):
    """Return the rate of every step; each epoch ends with its score."""
    optimizer = make_optimizer()
    schedule = build_schedule(component(name, **options), optimizer, lr, epochs, steps, higher_is_better)
    found = []
    for step in range(epochs * steps):
        schedule.at(step)
        found.append(optimizer.param_groups[0]["lr"])
        if step % steps == steps - 1:
            schedule.epoch_done(scores[step // steps] if scores else step)
    return found


# --- the contract


@pytest.mark.parametrize("name", list(schedules))
@pytest.mark.parametrize(("epochs", "steps"), [(10, 4), (3, 5), (1, 1), (1, 7), (2, 1)])
def test_rates_lie_between_zero_and_the_peak_rate(name, epochs, steps):
    found = step_rates(name, epochs, steps)
    assert all(0 <= rate <= 0.1 + 1e-12 for rate in found)
    assert found[0] > 0


@pytest.mark.parametrize("name", list(schedules))
def test_the_rate_depends_only_on_the_step(name):
    forwards = step_rates(name, 6, 4)
    optimizer = make_optimizer()
    schedule = build_schedule(component(name), optimizer, 0.1, 6, 4)
    for step in reversed(range(24)):
        schedule.at(step)
        assert optimizer.param_groups[0]["lr"] == forwards[step]


@pytest.mark.parametrize("name", list(schedules))
def test_parameter_groups_keep_their_lr_scale(name):
    optimizer = make_optimizer(1.0, 0.25, 5.0)
    schedule = build_schedule(component(name), optimizer, 0.1, 5, 3)
    for step in range(15):
        schedule.at(step)
        first, slow, fast = (group["lr"] for group in optimizer.param_groups)
        assert (slow, fast) == pytest.approx((0.25 * first, 5 * first))


@pytest.mark.parametrize("name", list(schedules))
def test_reported_rates_are_the_rates_of_the_optimizer(name):
    found = step_rates(name, 7, 6)
    assert rates(component(name), 0.1, 7, 6) == (found[0], max(found), found[-1])


def test_the_schedule_sets_rates_after_the_optimizer_state_was_loaded():
    optimizer = make_optimizer(1.0, 0.5)
    schedule = build_schedule(component("constant", warmup_epochs=0), optimizer, 0.2, 5, 3)
    optimizer.load_state_dict(optimizer.state_dict())
    schedule.at(0)
    assert [group["lr"] for group in optimizer.param_groups] == [0.2, 0.1]


# --- warmup


@pytest.mark.parametrize("name", ["cosine", "step", "plateau", "constant"])
def test_warmup_is_linear_from_one_percent(name):
    found = step_rates(name, 10, 4, warmup_epochs=2)
    assert found[:9] == pytest.approx([0.1 * (0.01 + 0.99 * step / 8) for step in range(9)])


@pytest.mark.parametrize(("epochs", "steps_of_warmup"), [(10, 8), (4, 8), (3, 6), (2, 4), (1, 2)])
def test_the_default_warmup_is_one_epoch_or_a_quarter_of_a_short_training(epochs, steps_of_warmup):
    found = step_rates("constant", epochs, 8)
    assert found.index(0.1) == steps_of_warmup


def test_a_warmup_as_long_as_the_training_is_refused():
    for name in ("cosine", "step", "plateau", "constant"):
        with raises_kit_error("warmup_too_long", "train.schedule.warmup_epochs"):
            check_schedule(component(name, warmup_epochs=5), 5)
        check_schedule(component(name, warmup_epochs=4.9), 5)


# --- each schedule


@pytest.mark.parametrize(("warmup", "floor"), [(2, 0.001), (0, 0.0), (1, 0.01)])
def test_cosine_equals_timm_and_ends_at_its_floor(warmup, floor):
    found = step_rates("cosine", warmup_epochs=warmup, floor=floor)
    optimizer = make_optimizer()
    reference = CosineLRScheduler(
        optimizer,
        t_initial=40 - warmup * 4 - 1,
        lr_min=floor,
        warmup_t=warmup * 4,
        warmup_lr_init=0.001,
        warmup_prefix=True,
        t_in_epochs=False,
    )
    for step in range(40):
        reference.step_update(step)
        assert found[step] == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12)
    assert found[-1] == pytest.approx(floor)


@pytest.mark.parametrize("epochs", [4, 6, 9])
def test_cosine_with_t_max_equals_torch_and_rises_again(epochs):
    found = step_rates("cosine", epochs, 4, warmup_epochs=0, t_max=6)
    optimizer = make_optimizer()
    reference = CosineAnnealingLR(optimizer, T_max=6)
    for epoch in range(epochs):
        assert found[4 * epoch] == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        reference.step()
    assert (found[-1] > min(found)) == (epochs > 6)


def test_constant_keeps_the_rate():
    assert set(step_rates("constant", warmup_epochs=0)) == {0.1}


def test_step_equals_torch():
    optimizer = make_optimizer()
    reference = StepLR(optimizer, step_size=3, gamma=0.5)
    found = step_rates("step", epochs=10, steps=4, every=3, factor=0.5, warmup_epochs=0)
    for epoch in range(10):
        assert found[epoch * 4 : epoch * 4 + 4] == pytest.approx([optimizer.param_groups[0]["lr"]] * 4)
        optimizer.step()
        reference.step()


def test_step_stops_at_its_floor_and_accepts_fractions_of_epochs():
    assert step_rates("step", every=2, floor=0.01, warmup_epochs=0)[-1] == 0.01
    found = step_rates("step", epochs=6, steps=10, every=2.4, factor=0.5, warmup_epochs=0)
    assert [found.index(rate) for rate in (0.1, 0.05, 0.025)] == [0, 24, 48]
    found = step_rates("step", epochs=1, steps=10, every=0.1, factor=0.5, warmup_epochs=0)
    assert found == pytest.approx([0.1 * 0.5**step for step in range(10)])


@pytest.mark.parametrize(
    ("epochs", "steps", "peak_at"), [(10, 4, 0.3), (5, 7, 0.25), (3, 2, 0.5), (20, 1, 0.1)]
)
def test_one_cycle_equals_torch(epochs, steps, peak_at):
    optimizer = make_optimizer()
    reference = OneCycleLR(
        optimizer,
        max_lr=0.1,
        total_steps=epochs * steps,
        pct_start=peak_at,
        div_factor=10.0,
        final_div_factor=100.0,
        cycle_momentum=False,
    )
    found = step_rates("one_cycle", epochs, steps, peak_at=peak_at, start_factor=10.0, end_factor=100.0)
    for step in range(epochs * steps):
        assert found[step] == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        if step < epochs * steps - 1:
            reference.step()


def test_one_cycle_starts_and_ends_at_the_rates_of_its_factors():
    first, peak, last = rates(Component(name="one_cycle"), 0.1, 50, 20)
    assert (first, peak, last) == pytest.approx((0.004, 0.1, 4e-7), rel=1e-3)


SCORES = [0.1, 0.3, 0.3, 0.2, 0.29, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4]


@pytest.mark.parametrize("higher_is_better", [True, False])
def test_plateau_equals_torch(higher_is_better):
    scores = SCORES if higher_is_better else [1 - score for score in SCORES]
    optimizer = make_optimizer()
    mode = "max" if higher_is_better else "min"
    reference = ReduceLROnPlateau(optimizer, mode, factor=0.5, patience=1, min_lr=0.03)
    options = {"factor": 0.5, "patience": 1, "floor": 0.03, "warmup_epochs": 0}
    found = step_rates("plateau", 12, 4, scores=scores, higher_is_better=higher_is_better, **options)
    for epoch, score in enumerate(scores):
        assert found[epoch * 4 : epoch * 4 + 4] == [optimizer.param_groups[0]["lr"]] * 4
        reference.step(score)
    assert min(found) == 0.03


def test_plateau_counts_epochs_from_the_end_of_the_warmup():
    found = step_rates("plateau", 8, 2, scores=[0.9, *[0.5] * 7], patience=1, factor=0.5, warmup_epochs=2)
    assert found[4:10] == [0.1] * 6  # epochs 3, 4, 5: the best so far, and two misses
    assert found[10:14] == [0.05] * 4


def test_plateau_resumes_from_its_scores():
    options = {"factor": 0.5, "patience": 1, "warmup_epochs": 1}
    whole = step_rates("plateau", 12, 4, scores=SCORES, **options)
    for stopped_after in range(12):
        optimizer = make_optimizer()
        schedule = build_schedule(Component(name="plateau", **options), optimizer, 0.1, 12, 4)
        for score in SCORES[:stopped_after]:
            schedule.epoch_done(score)
        schedule.at(stopped_after * 4)
        assert optimizer.param_groups[0]["lr"] == whole[stopped_after * 4]


# --- the kept epoch


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        ({}, "last"),
        ({"schedule": "one_cycle"}, "last"),
        ({"schedule": {"name": "step", "every": 4}}, "last"),
        ({"schedule": {"name": "step", "every": 40}}, "best"),  # never drops
        ({"schedule": "constant"}, "best"),
        ({"schedule": {"name": "cosine", "t_max": 6}}, "best"),
        ({"schedule": "plateau"}, "best"),
        ({"patience": 3}, "best"),  # may stop before the floor
        ({"schedule": "constant", "keep": "last"}, "last"),
        ({"keep": "best"}, "best"),
    ],
)
def test_the_last_epoch_is_kept_where_the_rate_ends_at_its_floor(values, kept):
    assert kept_epoch(TrainConfig(epochs=20, **values)) == kept


# --- shortfalls


@pytest.mark.parametrize("name", ["cosine", "constant", "one_cycle"])
def test_schedules_that_depend_on_the_number_of_epochs_have_no_shortfall(name):
    for epochs in (1, 5, 50):
        assert shortfall(component(name), epochs, 0.1) is None


def drops(found):
    return len(set(found)) > 1


@pytest.mark.parametrize("epochs", range(1, 8))
@pytest.mark.parametrize("every", [1, 2, 4, 6, 9])
def test_step_reports_that_it_never_drops(epochs, every):
    message = shortfall(component("step", every=every, warmup_epochs=0), epochs)
    assert (message is None) == drops(step_rates("step", epochs, 3, every=every, warmup_epochs=0))
    assert message is None or re.findall(r"\d+", message) == [str(every), str(epochs)]


def test_step_reports_that_it_ends_above_its_floor():
    short = component("step", every=4, factor=0.1, floor=1e-4)
    assert shortfall(short, 10, 0.1).count("0.001") == 1
    assert shortfall(short, 13, 0.1) is None
    assert shortfall(short, 10) is None  # the rate is not known
    assert shortfall(component("step", every=4), 10, 0.1) is None  # no floor is wanted


@pytest.mark.parametrize("warmup", [0, 0.5, 1, 2])
@pytest.mark.parametrize("patience", [0, 1, 3])
@pytest.mark.parametrize("epochs", [3, 4, 5, 6, 7, 8, 9])
def test_plateau_reports_that_its_patience_cannot_run_out(epochs, patience, warmup):
    options = {"patience": patience, "warmup_epochs": warmup}
    after = math.ceil(warmup) * 4
    ever = drops(step_rates("plateau", epochs, 4, scores=[0.5] * epochs, **options)[after:])
    message = shortfall(Component(name="plateau", **options), epochs)
    assert (message is None) == ever
    assert message is None or f"patience {patience} does not run out in {epochs} epochs" in message


# --- what is refused


def test_unknown_schedules_and_options_are_refused():
    with raises_kit_error("unknown_name"):
        check_schedule(Component(name="cosin"), 5)
    with raises_kit_error("unknown_option", "train.schedule.warm_up"):
        check_schedule(Component(name="cosine", warm_up=1), 5)
    with raises_kit_error("option_missing", "train.schedule"):
        check_schedule(Component(name="step"), 5)
    with raises_kit_error("option_invalid", "train.schedule.factor"):
        check_schedule(component("step", factor=1.5), 5)


def test_a_floor_above_the_rate_is_refused():
    with raises_kit_error("floor_above_lr", "train.schedule.floor"):
        build_schedule(Component(name="cosine", floor=0.2), make_optimizer(), 0.1, 5, 4)

"""How ``kit auto`` divides its time: full training of the best network first, then search, then more."""

from dataclasses import replace

import pytest

from kit.auto.candidates import Candidate
from kit.auto.choices import choices_for
from kit.auto.costs import Work
from kit.auto.journal import Scored
from kit.auto.plan import full_seconds, largest_within, least_seconds, plan_of
from kit.auto.search import NETWORK, proven_params
from kit.auto.understand import open_session
from kit.runtime.cores import usable_cores
from kit.runtime.deadline import Deadline
from kit.runtime.progress import SILENT
from tests.conftest import write_config

SLOW, FAST = "test_resnet", "test_vit"
WORK = Work(train=800, validation=200, validated=1000, others=500, folds=5)


@pytest.fixture
def session(tiny):
    """A session with two pretrained networks of known speed, one ten times as fast as the other."""
    opened = open_session(write_config(tiny), ["simple_cnn"], tiny, Deadline(60), SILENT, 0.0)
    candidates = [Candidate(name, None, True, "test") for name in (SLOW, FAST)]
    opened.costs.forward = {SLOW: 0.2, FAST: 0.02}  # seconds per megapixel: 200 and 2,000 images/s at 160 px
    choices = choices_for(opened.config, opened.data.competition.task, pretrained=True)
    recipes = replace(opened.recipes, train=WORK.train)
    return replace(opened, work=WORK, candidates=candidates, choices=choices, recipes=recipes, total=1e9)


def with_seconds(session, seconds):
    return replace(session, limit=Deadline(seconds))


def a_head(network, cv):
    return Scored(f"head of {network}", "head", network, {"size": 1.0}, 160, 20, cv, "", 10.0, 0.0)


def a_whole(session, network):
    (params,) = proven_params([session.candidate(network)], session.choices)
    return Scored(f"whole {network}", "whole", network, params, 160, 16, 0.5, "", 10.0, 0.0)


def test_without_time_for_any_whole_network_nothing_is_planned(session):
    assert (
        plan_of(with_seconds(session, 0.5 * least_seconds(session, session.candidates[1])), searched=False)
        is None
    )


def test_a_network_that_is_too_slow_for_the_time_is_not_in_the_plan(session):
    plan = plan_of(with_seconds(session, 0.8 * least_seconds(session, session.candidates[0])), searched=False)
    assert plan.networks == [FAST]


def test_a_network_whose_images_do_not_fit_the_memory_is_not_in_the_plan_and_it_is_told(session, monkeypatch):
    monkeypatch.setattr("kit.engine.device.resources.free_device_memory", lambda device: (10**9, 10**10))
    session.costs.memory = {SLOW: 1e12, FAST: 1e9}  # bytes per megapixel
    plan = plan_of(with_seconds(session, 1e6), searched=False)
    assert plan.networks == [FAST]
    assert [text for text in session.journal.learned if SLOW in text]


def test_the_best_network_is_trained_with_proven_values_before_anything_is_searched(session):
    full = full_seconds(session, session.candidates[0])
    plan = plan_of(with_seconds(session, 20 * full), searched=False)
    assert (plan.num_trials, plan.num_whole) == (0, 1)
    assert plan.whole_seconds == pytest.approx(full)
    (params,) = plan.confirmed(session)
    assert params[NETWORK] == SLOW
    assert params == {NETWORK: SLOW, **{choice.name: choice.prior for choice in session.choices}}


def test_a_network_from_scratch_with_one_epoch_is_trained_longer_before_anything_is_searched(session):
    full = full_seconds(session, session.candidates[0])
    first = replace(a_whole(session, SLOW), params={"size": 1.0}, epochs=1)
    session.journal.scored = [first]
    rich = with_seconds(session, 20 * full)
    assert plan_of(rich, searched=False).num_trials == 0
    poor = plan_of(with_seconds(session, full), searched=False)
    assert poor.whole_seconds < 0.3 * full
    session.journal.scored = [first, a_head(SLOW, 0.5)]
    assert plan_of(rich, searched=False).num_trials > 0
    session.journal.scored = [first, a_whole(session, SLOW)]
    assert plan_of(rich, searched=False).num_trials > 0


def test_values_are_searched_once_if_much_time_is_left_after_the_first_whole_network(session):
    full = full_seconds(session, session.candidates[0])
    session.journal.scored = [a_whole(session, SLOW)]
    rich = plan_of(with_seconds(session, 20 * full), searched=False)
    assert rich.num_trials >= 3
    assert plan_of(with_seconds(session, 2 * full), searched=False).num_trials == 0
    assert plan_of(with_seconds(session, 20 * full), searched=True).num_trials == 0


def test_without_a_search_each_network_is_trained_before_the_best_one_again(session):
    full = full_seconds(session, session.candidates[0])
    session.journal.scored = [a_whole(session, SLOW)]
    plan = plan_of(with_seconds(session, 2 * full), searched=True)
    assert next(plan.confirmed(session))[NETWORK] == FAST
    session.journal.scored.append(a_whole(session, FAST))
    assert next(plan.confirmed(session))[NETWORK] == SLOW


def test_networks_are_tried_in_the_order_of_their_heads(session):
    session.journal.scored = [a_head(SLOW, 0.4), a_head(FAST, 0.6)]
    session.sort_candidates()
    assert [each.model for each in session.candidates] == [FAST, SLOW]
    plan = plan_of(with_seconds(session, full_seconds(session, session.candidates[1])), searched=True)
    assert next(plan.confirmed(session))[NETWORK] == FAST


@pytest.mark.parametrize(("share", "size"), [(1.5, 1.0), (0.8, 0.8)])
def test_images_are_as_large_as_enough_epochs_allow(session, share, size):
    params = {NETWORK: SLOW, "size": 1.0}
    needed = full_seconds(session, session.candidates[0]) / 16 * session.recipes.fewest_epochs
    found, epochs = largest_within(session, params, share * needed / 0.8)
    assert found["size"] == size
    assert epochs >= session.recipes.fewest_epochs


@pytest.mark.parametrize(
    ("views", "images"), [(["identity"], 1), (["identity", "hflip"], 2), (["identity", "multi_scale"], 4)]
)
def test_prediction_costs_as_many_images_as_the_chosen_views_have(session, views, images):
    session.journal.views = views
    assert session.num_views == images


@pytest.mark.slow
@pytest.mark.skipif(len(usable_cores()) < 2, reason="needs two cores")
def test_trials_run_at_the_same_time_and_each_is_scored(tiny):
    limit = Deadline(300)
    session = open_session(write_config(tiny), ["simple_cnn"], tiny, limit, SILENT, 0.0, "cpu:2")
    assert session.work.parallel == 2
    session.candidates = session.unmeasured
    session.costs.forward = {"simple_cnn": 0.1}
    (params,) = proven_params(session.candidates, session.choices)
    asked = [({**params, "lr": rate}, 2) for rate in (0.01, 1e30)]
    good, failed = session.try_params(asked, budget=120)
    assert good.score is not None
    assert (failed.score, bool(failed.why)) == (None, True)
    assert [each.name for each in session.journal.trials] == ["auto-trial-001", "auto-trial-002"]

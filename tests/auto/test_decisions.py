"""What ``kit auto`` decides from: choices, costs, the search, and the corrected score."""

import numpy as np
import pytest

from kit.auto.candidates import Candidate
from kit.auto.choices import CHOICES, choices_for, scaled_size
from kit.auto.corrected import corrected_score
from kit.auto.costs import READING_FACTOR, STEP_FACTOR, Costs, Work
from kit.auto.journal import Journal, Scored, Trial
from kit.auto.page import write_auto_page
from kit.auto.recipes import Recipes
from kit.auto.search import importances, next_params, start_params
from kit.auto.understand import open_session
from kit.config import AuxiliaryConfig, ColumnConfig
from kit.config.load import with_values
from kit.metrics.metric import mean_scorer
from kit.runtime.deadline import Deadline
from kit.runtime.progress import SILENT
from kit.tasks import tasks

NETWORKS = [Candidate("a", None, False, "test"), Candidate("b", None, False, "test")]
WORK = Work(train=80, validation=20, validated=100, others=50, folds=5)


# --- the corrected score


def coin_flips(configs, rows):
    """Return the scorers of configs that are right on half of the rows, at random."""
    rng = np.random.default_rng(0)
    return [mean_scorer(rng.integers(0, 2, rows).astype(float)) for _ in range(configs)]


def test_the_best_of_many_coin_flips_is_expected_to_be_right_half_of_the_time():
    found = corrected_score(coin_flips(50, 200), 200, higher_is_better=True)
    assert found.raw > 0.56
    assert found.score == pytest.approx(0.5, abs=0.035)
    assert found.interval.low < 0.5 < found.interval.high


def test_a_single_config_needs_no_correction():
    found = corrected_score(coin_flips(1, 400), 400, higher_is_better=True)
    assert found.score == pytest.approx(found.raw, abs=0.005)


def test_of_losses_the_smallest_is_the_best():
    losses = [mean_scorer(np.full(50, value)) for value in (3.0, 1.0, 2.0)]
    found = corrected_score(losses, 50, higher_is_better=False)
    assert (found.raw, found.score) == (1.0, 1.0)


# --- choices and recipes


@pytest.mark.parametrize("choice", CHOICES, ids=lambda choice: f"{choice.name}-{choice.prior}")
@pytest.mark.parametrize("pretrained", [True, False])
def test_every_value_of_a_choice_makes_a_valid_config(tiny, tiny_config, choice, pretrained):
    task = tasks.get("multiclass")
    if choice not in choices_for(tiny_config, task, pretrained):
        pytest.skip("not decided for these networks")
    candidate = Candidate("test_resnet" if pretrained else "simple_cnn", None, pretrained, "test")
    recipes = Recipes(tiny_config, 200 if pretrained else 32, 20)
    for value in (choice.prior, *(choice.options or choice.bounds)):
        config = recipes.whole("x", candidate, [choice], {choice.name: value}, 3)
        assert config.train.epochs == 3
        for key, expected in choice.values(value, candidate, recipes.native_size(candidate)).items():
            section, _, field = key.partition(".")
            found = getattr(getattr(config, section), field)
            assert getattr(found, "name", found) == (
                expected["name"] if isinstance(expected, dict) else expected
            )


def test_a_recipe_keeps_what_describes_the_data(tiny_config):
    config = with_values(tiny_config, {"image.fit": "squash", "augment.hflip": False})
    made = Recipes(config, 32, 20).whole("x", Candidate("simple_cnn", None, False, "test"), [], {}, 3)
    assert made.image.fit == "squash"
    assert not made.augment.hflip
    assert [view.name for view in made.predict.tta] == ["identity"]


def test_recipes_read_the_columns_of_the_users_config(tiny_config):
    columns = {"tabular": [ColumnConfig(name="age")], "auxiliary": [AuxiliaryConfig(name="site")]}
    config = tiny_config.model_copy(update={"model": tiny_config.model.model_copy(update=columns)})
    candidate = Candidate("simple_cnn", None, False, "test")
    recipes = Recipes(config, 32, 20)
    for made in (recipes.whole("x", candidate, [], {}, 3), recipes.head("y", candidate, 32)):
        assert made.model.columns == ("age", "site")


def test_sizes_are_multiples_of_32_and_small_images_keep_theirs():
    assert [scaled_size(224, f) for f in (0.6, 0.8, 1.0, 1.25)] == [128, 192, 224, 288]
    assert scaled_size(24, 0.6) == 24


# --- costs


def test_a_measured_training_speed_replaces_the_assumed_one_for_all_networks():
    costs = Costs(forward={"a": 1.0, "b": 2.0})
    assumed = costs.epoch("b", 100, WORK)
    costs.learn_training("a", 100, images=80, seconds=80 * 10 * STEP_FACTOR * READING_FACTOR * 0.01)
    measured = costs.epoch("b", 100, WORK)
    of_training = (assumed - 2.0 * WORK.validation * 0.01) * 10
    assert measured == pytest.approx(of_training + 2.0 * WORK.validation * 0.01)


def test_a_measured_step_replaces_the_assumed_one_of_its_network():
    costs = Costs(forward={"a": 1.0, "b": 1.0}, steps={"a": 8.0})
    assert costs.fold("a", 100, 3, WORK) > costs.fold("b", 100, 3, WORK)
    costs.learn_training("b", 100, images=80, seconds=80 * 0.01 * 2 * STEP_FACTOR)
    assert costs.epoch("a", 100, WORK) == pytest.approx((80 * 8.0 * 2 + 20 * 1.0) * 0.01)


def test_images_are_decoded_once_in_the_estimates():
    costs = Costs(forward={"net": 0.1})
    head, whole = costs.head("net", 224, WORK), costs.experiment("net", 224, 3, 1, WORK)
    costs.decoding = 50.0
    assert costs.head("net", 224, WORK) == pytest.approx(head + 50)
    assert costs.experiment("net", 224, 3, 1, WORK) == pytest.approx(whole + 50)
    costs.learn_head("net", 224, WORK, seconds=60.0)
    assert costs.head_training < 10


def test_costs_grow_with_image_area_epochs_and_folds():
    costs = Costs(forward={"a": 1.0})
    assert costs.epoch("a", 200, WORK) == pytest.approx(4 * costs.epoch("a", 100, WORK))
    one, two = (costs.experiment("a", 100, epochs, 1, WORK) for epochs in (1, 2))
    assert two - one == pytest.approx(WORK.folds * costs.epoch("a", 100, WORK))


def test_estimates_follow_what_experiments_took():
    costs = Costs(forward={"a": 1.0})
    estimated = costs.experiment("a", 100, 0, 1, WORK)
    for _ in range(10):
        costs.learn_total(costs.experiment("a", 100, 0, 1, WORK), 3 * estimated)
    assert costs.experiment("a", 100, 0, 1, WORK) == pytest.approx(3 * estimated, rel=0.05)


def test_few_images_need_more_epochs_to_be_worth_training_a_whole_network(tiny_config):
    epochs = [Recipes(tiny_config, 200, images).fewest_epochs for images in (100, 1600, 100_000)]
    assert epochs == sorted(epochs, reverse=True)
    assert epochs[0] > epochs[-1] >= 2


# --- the search


def test_proven_values_come_first_and_then_the_same_trials_give_the_same_params(tiny_config):
    choices = choices_for(tiny_config, tasks.get("multiclass"), pretrained=False)
    starts = start_params(NETWORKS, choices)
    trials = []
    for number in range(len(starts) + 8):
        params = next_params(NETWORKS, choices, trials, True, seed=1)
        assert params == next_params(NETWORKS, choices, trials, True, seed=1)
        if number < len(starts):
            assert params == starts[number]
        trials.append(Trial(f"t{number}", params, 1, 1.0, score=float(params["network"] == "b")))
    assert all(trial.params not in starts for trial in trials[len(starts) :])


def test_the_search_finds_the_better_of_two_networks(tiny_config):
    choices = choices_for(tiny_config, tasks.get("multiclass"), pretrained=False)
    trials = []
    for number in range(40):
        params = next_params(NETWORKS, choices, trials, False, seed=0)
        trials.append(Trial(f"t{number}", params, 1, 1.0, score=float(params["network"] == "b")))
    late = [trial.params["network"] for trial in trials[20:]]
    assert late.count("a") > 2 * late.count("b")


def some_trials(tiny_config, number=12):
    """Trials whose score is the network's only: 1 for b, 0 for a, with a little noise."""
    choices = choices_for(tiny_config, tasks.get("multiclass"), pretrained=False)
    trials = []
    for k in range(number):
        params = next_params(NETWORKS, choices, trials, True, seed=3)
        params["network"] = "ab"[k % 2]
        trials.append(Trial(f"t{k}", params, 1, 1.0, score=float(params["network"] == "b") + 0.001 * k))
    return trials, choices


def test_the_choice_that_decides_the_score_is_the_most_important(tiny_config):
    trials, choices = some_trials(tiny_config)
    found = importances(trials, choices, True)
    assert found[0].name == "network"
    assert found[0].low > 0.5
    assert all(0 <= each.low <= each.share <= each.high for each in found)
    assert importances(trials[:4], choices, True) == []


def test_the_page_shows_scores_trials_and_what_was_not_tried(tiny, tiny_config):
    session = open_session(tiny.config("tiny-cnn"), ["simple_cnn"], tiny, Deadline(60), SILENT, 0.0)
    session.journal.trials, session.choices = some_trials(tiny_config)
    slow = Trial("slow-one", session.journal.trials[0].params, 1, 1.0, why="it was <slow>")
    session.journal.trials.append(slow)
    session.journal.learned.append("no head of c")
    session.journal.add(Scored("x", "whole", "a", {}, 32, 3, 0.5, "0.4 to 0.6", 2.0, 60.0))
    session.journal.add(Scored("y", "blend", "", {}, 0, 0, 0.6, "0.5 to 0.7", 1.0, 90.0))
    page = tiny.auto_page("tiny")
    write_auto_page(page, session, session.journal.scored[::-1], None)
    text = page.read_text()
    assert text.count("<svg") == 3
    for needed in ("no head of c", "it was &lt;slow&gt;", "0.6000"):
        assert needed in text


def test_a_new_experiment_never_takes_the_name_of_a_scored_one(tiny, tiny_config):
    session = open_session(tiny.config("tiny-cnn"), ["simple_cnn"], tiny, Deadline(60), SILENT, 0.0)
    session.journal.scored = [Scored("auto-whole-2", "whole", "a", {}, 32, 3, 0.5, "", 2.0, 60.0)]
    assert session.new_name("whole") == "auto-whole-1"
    session.journal.scored.append(Scored("auto-whole-1", "whole", "a", {}, 32, 3, 0.5, "", 2.0, 60.0))
    assert session.new_name("whole") == "auto-whole-3"


# --- the journal


def test_a_journal_reads_back_equal_and_only_for_the_same_data(tmp_path):
    path = tmp_path / "journal.json"
    journal = Journal(path, "key", Costs(forward={"a": 0.1}), spent=3.0)
    journal.trials.append(Trial("t", {"network": "a", "lr": 0.1}, 2, 5.0, score=None, why="slow"))
    journal.add(Scored("x", "whole", "a", {}, 32, 3, 0.5, "", 2.0, 2.5))
    assert Journal.open(path, "key") == (journal, "")
    other, why = Journal.open(path, "other")
    assert why
    assert other.trials == []


def test_a_blend_that_is_made_again_keeps_its_earlier_scores_for_the_plot(tmp_path):
    journal = Journal(tmp_path / "journal.json", "key")
    for at, cv in ((60.0, 0.5), (90.0, 0.6)):
        journal.add(Scored("blend", "blend", "", {}, 0, 0, cv, "", 1.0, at))
    assert [each.cv for each in journal.scored] == [0.6]
    assert [(each.at, each.cv) for each in Journal.open(journal.path, "key")[0].history] == [
        (60.0, 0.5),
        (90.0, 0.6),
    ]


def test_a_speed_that_was_measured_while_the_machine_was_busy_is_corrected():
    costs = Costs(forward={"a": 100.0})  # seconds per megapixel: a thousand times too slow
    before = costs.experiment("a", 24, 10, 1, WORK)
    costs.learn_predicted("a", 24, 1, WORK, 2.0)
    assert costs.predicted("a", 24, 1, WORK) <= 2 * 2.0
    assert costs.experiment("a", 24, 10, 1, WORK) < before / 5
    costs = Costs(forward={"a": 100.0})
    costs.learn_head("a", 24, WORK, 3.0)
    assert costs.features("a", 24, WORK) == pytest.approx(3.0)

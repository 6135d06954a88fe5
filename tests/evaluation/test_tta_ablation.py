"""The TTA report: scores of views and sets of views agree with predicting, and the choice is nested."""

import json
from functools import wraps

import numpy as np
import pytest

from kit.config import Component
from kit.config.load import config_yaml, load_config
from kit.engine.models.small_cnn import simple_cnn, small_models
from kit.evaluation import tta_ablation
from kit.evaluation.oof_with_labels import LabeledPredictions, load_labeled_oof
from kit.evaluation.tta_ablation import Gain, _ViewSets
from kit.inference import fold_models, predict
from kit.metrics import get_metric
from kit.metrics.bootstrap import Interval
from kit.predictions import load_oof
from kit.storage.workspace import RunFolder, Workspace
from kit.tasks import tasks
from tests.conftest import raises_kit_error

BINARY = tasks.get("binary")


@pytest.fixture
def run(trained_copy) -> tuple[RunFolder, Workspace]:
    """An experiment with log loss, which differs between views and is better if lower."""
    found = trained_copy.run("tiny", "a")
    config = load_config(found.config, ["competition.metric=log_loss", "predict.tta=[hflip]"])
    found.config.write_text(config_yaml(config))
    return found, trained_copy


def make_report(run, *names, **options):
    candidates = [Component.model_validate(name) for name in names] or None
    return tta_ablation.tta_report(*run, candidates, **options)


def oof_score(run, *views):
    predict.predict(*run, [Component.model_validate(view) for view in views])
    return load_labeled_oof(*run).score()


def test_scores_agree_with_predicting_with_the_views(run):
    crops = {"name": "five_crop", "share": 0.75}
    found = make_report(run, "vflip", crops)
    assert [view.view for view in found.views] == ["identity", "hflip", "vflip", "five_crop(share=0.75)"]
    assert [view.images for view in found.views] == [1, 1, 1, 5]
    plain = oof_score(run, "identity")
    for entry, view in zip(found.views, ("identity", "hflip", "vflip", crops), strict=True):
        assert entry.score == pytest.approx(oof_score(run, view), abs=1e-6)
        assert entry.alone.value == pytest.approx(plain - entry.score, abs=1e-6)  # less log loss is a gain
        if view != "identity":
            added = plain - oof_score(run, "identity", view)
            assert entry.added.value == pytest.approx(added, abs=1e-6)
            assert entry.added.interval.low <= added + 1e-6
            assert entry.added.interval.high >= added - 1e-6
    assert found.views[0].added == Gain(0.0, Interval(0.0, 0.0))
    assert (found.metric, found.higher_is_better, found.merge) == ("log_loss", False, "mean")
    assert found.configured.views == ("hflip",)
    assert found.configured.score == found.views[1].score


def test_the_path_adds_one_view_at_a_time_and_contains_the_best_set(run):
    found = make_report(run, "vflip", "rot180", "transpose")
    assert [len(entry.views) for entry in found.path] == [1, 2, 3, 4, 5]
    assert found.path[0].views == ("identity",)
    for before, after in zip(found.path[:-1], found.path[1:], strict=True):
        assert set(before.views) < set(after.views)
    pairs = [view.added.value for view in found.views[1:]]
    assert found.path[1].gain.value == pytest.approx(max(pairs))  # the most helpful view is added first
    assert found.best.score == min(entry.score for entry in found.path)
    assert found.best.to_best == Gain(0.0, Interval(0.0, 0.0))
    assert found.cheapest.to_best.is_noise
    assert found.cheapest.seconds <= found.best.seconds
    assert found.path[-1].seconds == pytest.approx(sum(view.seconds for view in found.views))


def test_the_default_views_and_those_of_the_config_are_measured(run):
    found = make_report(run)
    usual = ["identity", "hflip", "vflip", "rot180", "transpose", "five_crop", "multi_scale"]
    assert [view.view for view in found.views] == usual
    assert all(view.seconds > 0 for view in found.views)
    assert found.reading > 0
    assert json.loads(json.dumps(found.as_dict()))["nested"]["score"] == found.nested.score


def test_views_of_unsupported_sizes_are_left_out(run, monkeypatch):
    @wraps(simple_cnn)
    def fixed_size_cnn(*shape, **options):
        network = simple_cnn(*shape, **options)
        network.register_forward_pre_hook(refuse_other_sizes)
        return network

    def refuse_other_sizes(network, arguments):
        if arguments[0].shape[2] != 16:
            raise ValueError("only 16 px")

    monkeypatch.setitem(small_models._entries, "simple_cnn", fixed_size_cnn)
    names = [view.view for view in make_report(run).views]
    assert "multi_scale" not in names
    assert "five_crop" in names
    with raises_kit_error("image_size_unsuitable", where="predict.tta.multi_scale") as caught:
        make_report(run, "multi_scale")
    assert "14 px" in caught.value.problem


def test_a_second_report_loads_no_model(run, monkeypatch):
    first = make_report(run, "vflip")
    monkeypatch.setattr(fold_models.FoldModels, "_load", None)
    assert make_report(run, "vflip") == first


def test_only_new_views_are_predicted(run, monkeypatch):
    from kit.engine.tta.predict import TTAPlan

    make_report(run, "vflip")
    predicted = []
    plain = TTAPlan.of
    monkeypatch.setattr(TTAPlan, "of", lambda views, own: predicted.append(views) or plain(views, own))
    make_report(run, "vflip", "rot180")
    assert predicted == [[(Component(name="rot180"),)]] * 2  # two folds


def test_the_report_does_not_change_the_predictions_of_the_run(run):
    before = load_oof(run[0]).origin
    make_report(run, "vflip")
    assert load_oof(run[0]).origin == before


def test_a_blend_is_refused(run):
    run[0].config.rename(run[0].blend)
    with raises_kit_error("is_blend"):
        make_report(run)


# --- the choice of views, on hand-made probabilities


def labeled_predictions(targets, parts) -> LabeledPredictions:
    metric = get_metric("accuracy", BINARY)
    return LabeledPredictions(None, [], np.array(targets), np.array(parts), None, BINARY, metric)


def probs_of_second_class(*values):
    return np.stack([1 - np.array(values), np.array(values)], axis=1).astype("float32")


def test_greedy_selection_adds_the_view_that_helps_most():
    plain = probs_of_second_class(0.4, 0.4, 0.6, 0.1)  # labels 1 1 0 0: only the last is right
    first = probs_of_second_class(0.7, 0.5, 0.6, 0.1)  # makes the mean right for the first
    both = probs_of_second_class(0.7, 0.7, 0.6, 0.1)  # makes the mean right for the first two
    third = probs_of_second_class(0.4, 0.45, 0.1, 0.1)
    sets = _ViewSets(
        [plain, first, both, third], [1, 1, 1, 1], "mean", labeled_predictions([1, 1, 0, 0], [0, 0, 1, 1])
    )
    path = sets.path()
    assert path == [(0,), (0, 2), (0, 1, 2), (0, 1, 2, 3)]
    assert [sets.values(views)[0] for views in path] == [0.25, 0.75, 0.75, 1.0]
    assert sets.best() == (0, 1, 2, 3)


def test_a_view_counts_by_its_number_of_images():
    sets = _ViewSets(
        [probs_of_second_class(0.2), probs_of_second_class(0.8)],
        [1, 5],
        "mean",
        labeled_predictions([1], [0]),
    )
    assert sets.merged((0, 1))[0, 1] == pytest.approx((0.2 + 5 * 0.8) / 6)


def test_nested_probs_of_a_part_come_from_views_chosen_on_the_other_parts():
    plain = probs_of_second_class(0.4, 0.4, 0.4, 0.4)
    good_for_first = probs_of_second_class(0.9, 0.9, 0.0, 0.0)  # right on part 0 only
    good_for_second = probs_of_second_class(0.0, 0.0, 0.9, 0.9)
    sets = _ViewSets(
        [plain, good_for_first, good_for_second],
        [1, 1, 1],
        "mean",
        labeled_predictions([1] * 4, [0, 0, 1, 1]),
    )
    probs, chosen = sets.nested()
    assert chosen == [(0, 2), (0, 1)]  # each is the best on the other part
    assert probs[:, 1] == pytest.approx([0.2] * 4)  # and does not help there
    assert (probs.argmax(axis=1) == 1).mean() == 0.0
    assert sets.values(sets.best())[0] == 0.5

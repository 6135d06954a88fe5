"""What views are worth: scores by hand, honest choices, and the same numbers as predicting gives."""

import json
import shutil
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
from kit.predictions import load_predictions
from kit.storage.workspace import RunFolder, Workspace
from kit.tasks import tasks
from tests.conftest import raises_kit_error

BINARY = tasks.get("binary")


@pytest.fixture
def run(trained, tmp_path) -> tuple[RunFolder, Workspace]:
    """An experiment whose metric is log loss: it tells views apart, and less of it is better."""
    shutil.copytree(trained.root, tmp_path / "copy")
    workspace = Workspace.open(tmp_path / "copy")
    found = workspace.run("tiny", "a")
    config = load_config(found.config, ["competition.metric=log_loss", "predict.tta=[hflip]"])
    found.config.write_text(config_yaml(config))
    return found, workspace


def report(run, *names, **options):
    candidates = [Component.model_validate(name) for name in names] or None
    return tta_ablation.tta_report(*run, candidates, **options)


def oof_score(run, *views):
    predict.predict(*run, [Component.model_validate(view) for view in views])
    return load_labeled_oof(*run).score()


def test_scores_are_those_of_predicting_with_the_views(run):
    crops = {"name": "five_crop", "share": 0.75}
    found = report(run, "vflip", crops)
    assert [view.view for view in found.views] == ["identity", "hflip", "vflip", "five_crop(share=0.75)"]
    assert [view.images for view in found.views] == [1, 1, 1, 5]
    plain = oof_score(run, "identity")
    for worth, view in zip(found.views, ("identity", "hflip", "vflip", crops), strict=True):
        assert worth.score == pytest.approx(oof_score(run, view), abs=1e-6)
        assert worth.alone.value == pytest.approx(plain - worth.score, abs=1e-6)  # less log loss is a gain
        if view != "identity":
            added = plain - oof_score(run, "identity", view)
            assert worth.added.value == pytest.approx(added, abs=1e-6)
            assert worth.added.interval.low <= added + 1e-6
            assert worth.added.interval.high >= added - 1e-6
    assert found.views[0].added == Gain(0.0, Interval(0.0, 0.0))
    assert (found.metric, found.higher_is_better, found.merge) == ("log_loss", False, "mean")
    assert found.configured.views == ("hflip",)
    assert found.configured.score == found.views[1].score


def test_the_path_grows_by_one_view_to_all_of_them_and_holds_the_best(run):
    found = report(run, "vflip", "rot180", "transpose")
    assert [len(worth.views) for worth in found.path] == [1, 2, 3, 4, 5]
    assert found.path[0].views == ("identity",)
    for before, after in zip(found.path[:-1], found.path[1:], strict=True):
        assert set(before.views) < set(after.views)
    pairs = [view.added.value for view in found.views[1:]]
    assert found.path[1].gain.value == pytest.approx(max(pairs))  # the view that helps most is the first
    assert found.best.score == min(worth.score for worth in found.path)
    assert found.best.to_best == Gain(0.0, Interval(0.0, 0.0))
    assert found.cheapest.to_best.is_noise
    assert found.cheapest.seconds <= found.best.seconds
    assert found.path[-1].seconds == pytest.approx(sum(view.seconds for view in found.views))


def test_the_default_views_are_measured_and_those_of_the_config(run):
    found = report(run)
    usual = ["identity", "hflip", "vflip", "rot180", "transpose", "five_crop", "multi_scale"]
    assert [view.view for view in found.views] == usual
    assert all(view.seconds > 0 for view in found.views)
    assert found.reading > 0
    assert json.loads(json.dumps(found.as_dict()))["nested"]["score"] == found.nested.score


def test_views_of_sizes_that_the_network_does_not_take_are_left_out(run, monkeypatch):
    @wraps(simple_cnn)
    def of_one_size(*shape, **options):
        network = simple_cnn(*shape, **options)
        network.register_forward_pre_hook(refuse_others)
        return network

    def refuse_others(network, arguments):
        if arguments[0].shape[2] != 16:
            raise ValueError("16 px it is")

    monkeypatch.setitem(small_models._entries, "simple_cnn", of_one_size)
    names = [view.view for view in report(run).views]
    assert "multi_scale" not in names
    assert "five_crop" in names
    with raises_kit_error("image_size_unsuitable", where="predict.tta.multi_scale") as caught:
        report(run, "multi_scale")
    assert "14 px" in caught.value.problem


def test_a_second_call_asks_no_model(run, monkeypatch):
    first = report(run, "vflip")
    monkeypatch.setattr(fold_models.FoldModels, "_load", None)
    assert report(run, "vflip") == first


def test_only_views_that_are_new_are_asked_about(run, monkeypatch):
    from kit.engine.tta.predict import TTAPlan

    report(run, "vflip")
    asked = []
    plain = TTAPlan.of
    monkeypatch.setattr(TTAPlan, "of", lambda views, own: asked.append(views) or plain(views, own))
    report(run, "vflip", "rot180")
    assert asked == [[(Component(name="rot180"),)]] * 2  # two folds


def test_the_predictions_of_the_experiment_stay_as_they_are(run):
    before = load_predictions(run[0].oof).origin
    report(run, "vflip")
    assert load_predictions(run[0].oof).origin == before


def test_a_blend_is_refused(run):
    run[0].config.rename(run[0].blend)
    with raises_kit_error("is_blend"):
        report(run)


# --- the choice, on probabilities made by hand


def scored_by_hand(targets, parts) -> LabeledPredictions:
    metric = get_metric("accuracy", BINARY)
    return LabeledPredictions(None, [], np.array(targets), np.array(parts), None, BINARY, metric)


def of_second(*values):
    return np.stack([1 - np.array(values), np.array(values)], axis=1).astype("float32")


def test_greedy_takes_what_helps_most_beside_what_there_is():
    plain = of_second(0.4, 0.4, 0.6, 0.1)  # of 1 1 0 0: the last alone is right
    first = of_second(0.7, 0.5, 0.6, 0.1)  # sure enough of the first
    both = of_second(0.7, 0.7, 0.6, 0.1)  # of the first and the second
    third = of_second(0.4, 0.45, 0.1, 0.1)
    sets = _ViewSets(
        [plain, first, both, third], [1, 1, 1, 1], "mean", scored_by_hand([1, 1, 0, 0], [0, 0, 1, 1])
    )
    path = sets.path()
    assert path == [(0,), (0, 2), (0, 1, 2), (0, 1, 2, 3)]
    assert [sets.values(views)[0] for views in path] == [0.25, 0.75, 0.75, 1.0]
    assert sets.best() == (0, 1, 2, 3)


def test_counts_weigh_what_a_view_says():
    sets = _ViewSets([of_second(0.2), of_second(0.8)], [1, 5], "mean", scored_by_hand([1], [0]))
    assert sets.merged((0, 1))[0, 1] == pytest.approx((0.2 + 5 * 0.8) / 6)


def test_nested_rows_are_answered_by_the_set_chosen_without_them():
    plain = of_second(0.4, 0.4, 0.4, 0.4)
    good_for_first = of_second(0.9, 0.9, 0.0, 0.0)  # right on part 0 alone
    good_for_second = of_second(0.0, 0.0, 0.9, 0.9)
    sets = _ViewSets(
        [plain, good_for_first, good_for_second], [1, 1, 1], "mean", scored_by_hand([1] * 4, [0, 0, 1, 1])
    )
    probs, chosen = sets.nested()
    assert chosen == [(0, 2), (0, 1)]  # each is the best without the part it is asked about
    assert probs[:, 1] == pytest.approx([0.2] * 4)  # and of no use there
    assert (probs.argmax(axis=1) == 1).mean() == 0.0
    assert sets.values(sets.best())[0] == 0.5

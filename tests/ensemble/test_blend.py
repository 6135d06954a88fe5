import shutil
from dataclasses import replace

import numpy as np
import pytest

from kit import pipeline
from kit.ensemble.methods import methods
from kit.errors import KitError
from kit.predictions import load_predictions
from kit.workspace import Workspace


@pytest.fixture
def two(trained, tmp_path) -> Workspace:
    """A copy of the trained workspace, free to change."""
    shutil.copytree(trained.root, tmp_path / "copy")
    return Workspace.open(tmp_path / "copy")


def members(workspace):
    return [workspace.run("tiny", name) for name in "ab"]


def test_the_mean_is_the_mean_by_id(two):
    a, b = members(two)
    shuffled = load_predictions(b.oof)
    order = np.random.default_rng(0).permutation(len(shuffled.ids))
    plain, _ = pipeline.blend([a, b], "mean", "plain", two)
    shuffled.aligned_to([shuffled.ids[i] for i in order], shuffled.classes[::-1], "x").save(b.oof)
    mixed, _ = pipeline.blend([a, b], "mean", "mixed", two)
    left, right = load_predictions(plain.oof), load_predictions(mixed.oof)
    np.testing.assert_array_equal(left.probs, right.aligned_to(left.ids, left.classes, "x").probs)
    expected = (load_predictions(a.oof).probs + shuffled.probs) / 2
    np.testing.assert_allclose(left.probs, expected, atol=1e-6)


def test_a_blend_is_scored_and_can_be_submitted_like_an_experiment(two):
    run, evaluation = pipeline.blend(members(two), "gmean", "both", two)
    assert evaluation.nested == evaluation.cv
    assert evaluation.as_dict()["nested"] == evaluation.cv
    assert two.find_run("tiny/both") == run
    submitted = pipeline.submit(run, two)
    assert submitted.mirror == submitted.cv
    assert run.report.exists()


@pytest.mark.parametrize("name", list(methods))
def test_methods_stay_between_their_members_and_ignore_the_order(name):
    stacked = np.random.default_rng(1).dirichlet(np.ones(3), (2, 5))
    combined = methods.get(name)(stacked)
    assert combined.shape == (5, 3)
    assert (combined <= stacked.max(axis=0) + 1e-12).all()
    assert (combined >= stacked.min(axis=0) - 1e-12).all()
    np.testing.assert_allclose(combined, methods.get(name)(stacked[::-1]))


def test_what_is_no_blend_is_refused(two):
    a, b = members(two)
    with pytest.raises(KitError, match="has 1 member. A blend has two or more"):
        pipeline.blend([a], "mean", "x", two)
    with pytest.raises(KitError, match=r"has a member twice \(tiny/a\)"):
        pipeline.blend([a, a], "mean", "x", two)
    with pytest.raises(KitError, match="tiny/a: is an experiment"):
        pipeline.blend([a, b], "mean", "a", two)
    with pytest.raises(KitError, match=r"there is no blend method 'maen'.*mean mean"):
        pipeline.blend([a, b], "maen", "x", two)
    other = load_predictions(b.oof)
    replace(other, origin=replace(other.origin, folds="else")).save(b.oof)
    with pytest.raises(KitError, match="was trained on other folds"):
        pipeline.blend([a, b], "mean", "x", two)
    with pytest.raises(KitError, match="--name ../x: is no name for a file"):
        pipeline.blend([a, b], "mean", "../x", two)
    assert not two.run("tiny", "x").path.exists()


def test_a_blend_whose_test_sides_do_not_meet_leaves_nothing(two):
    a, b = members(two)
    test = load_predictions(b.test)
    replace(test, ids=test.ids[1:], probs=test.probs[1:]).save(b.test)
    with pytest.raises(KitError, match=r"tiny/b \(test\): lacks 1 ids"):
        pipeline.blend([a, b], "mean", "x", two)
    assert not two.run("tiny", "x").path.exists()


def test_a_blend_outlives_its_members(two):
    run, evaluation = pipeline.blend(members(two), "mean", "both", two)
    for member in members(two):
        shutil.rmtree(member.path)
    assert pipeline.score(run, two).cv == evaluation.cv
    assert pipeline.submit(run, two).cv == evaluation.cv

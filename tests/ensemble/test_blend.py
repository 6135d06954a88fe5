"""Blend runs and prediction files of other tools: write, score and submit the blend, refuse bad members."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from kit import pipeline
from kit.config import Component
from kit.config.load import load_config
from kit.ensemble.methods import blend_methods
from kit.errors import KitError
from kit.evaluation.oof_with_labels import load_labeled_oof
from kit.predictions import MIXED_FOLDS, load_oof, load_test
from kit.storage.files import read_json
from tests.conftest import raises_kit_error

MEAN = Component(name="mean")
PREDICTION_METHODS = [name for name in blend_methods if not blend_methods.get(name).blends_weights]


def members(workspace):
    return [workspace.run("tiny", name) for name in "ab"]


def blend(workspace, method="mean", name="both", **more):
    """Blend both experiments and return the run and the evaluation of the blend."""
    done = pipeline.blend(
        members(workspace), method=Component(name=method), name=name, workspace=workspace, **more
    ).blended
    return done.run, pipeline.evaluate(done.run, workspace=workspace)


LOADERS = {"oof": load_oof, "test": load_test}


def assert_same(left, right, tolerance=0.0):
    for side in ("oof", "test"):
        a, b = (LOADERS[side](run) for run in (left, right))
        np.testing.assert_allclose(a.probs, b.aligned_to(a.ids, a.classes, "x").probs, atol=tolerance)


@pytest.mark.parametrize("method", PREDICTION_METHODS)
def test_a_blend_is_the_same_for_shuffled_rows_and_reordered_classes(trained_copy, method):
    _, b = members(trained_copy)
    plain, _ = blend(trained_copy, method, "plain")
    for load, path in ((load_oof, b.oof), (load_test, b.test)):
        predictions = load(b)
        order = np.random.default_rng(0).permutation(len(predictions.ids))
        predictions.aligned_to([predictions.ids[i] for i in order], predictions.classes[::-1], "x").save(path)
    mixed, _ = blend(trained_copy, method, "mixed")
    assert_same(plain, mixed)


def test_the_mean_joins_members_by_id(trained_copy):
    a, b = members(trained_copy)
    run, _ = blend(trained_copy)
    mean = load_oof(run)
    left, right = (load_oof(each).aligned_to(mean.ids, mean.classes, "x") for each in (a, b))
    np.testing.assert_allclose(mean.probs, (left.probs + right.probs) / 2, atol=1e-6)


def test_a_blend_is_scored_and_can_be_submitted_like_an_experiment(trained_copy):
    run, evaluation = blend(trained_copy, "gmean")
    assert evaluation.nested == evaluation.cv
    assert evaluation.as_dict()["nested"] == evaluation.cv
    assert trained_copy.find_run("tiny/both") == run
    submitted = pipeline.submit(run, workspace=trained_copy)
    assert submitted.proof.mirror == submitted.proof.cv == evaluation.cv
    assert run.report.exists()


def test_the_oof_file_of_a_fitted_blend_has_nested_probs(trained_copy):
    """The probabilities of a row come from weights fitted without the fold of this row."""
    done = pipeline.blend(
        members(trained_copy), method=Component(name="stack"), name="both", workspace=trained_copy
    ).blended
    scored = load_labeled_oof(done.run, trained_copy)
    assert scored.score() == done.evaluation.nested
    assert read_json(done.run.blend)["worth"]["nested"] == done.evaluation.nested
    again = pipeline.blend(
        [done.run, members(trained_copy)[0]], method=MEAN, name="again", workspace=trained_copy
    ).blended
    assert {member.label: member.score for member in again.evaluation.members}[
        "tiny/both"
    ] == done.evaluation.nested


@pytest.mark.parametrize(
    ("runs", "method", "name", "code", "fact"),
    [
        ("a", "mean", "x", "too_few_members", "1 member"),
        ("", "mean", "x", "blend_without_run", ""),
        ("aa", "mean", "x", "duplicate_member", "tiny/a"),
        ("ab", "mean", "a", "name_taken", "tiny/a"),
    ],
)
def test_too_few_duplicate_or_taken_names_are_refused(trained_copy, runs, method, name, code, fact):
    with raises_kit_error(code) as caught:
        chosen = [trained_copy.run("tiny", run) for run in runs]
        pipeline.blend(chosen, method=Component(name=method), name=name, workspace=trained_copy)
    assert fact in str(caught.value)
    assert not trained_copy.run("tiny", "x").path.exists()


@pytest.mark.parametrize(
    ("method", "name", "fact"),
    [
        (Component(name="maen"), "x", "mean"),
        (Component(name="hill_climb", step=3), "x", "steps"),
        (MEAN, "../x", "../x"),
    ],
)
def test_unknown_methods_options_and_names_are_refused(trained_copy, method, name, fact):
    with pytest.raises(KitError) as caught:
        pipeline.blend(members(trained_copy), method=method, name=name, workspace=trained_copy)
    assert fact in str(caught.value)
    assert not trained_copy.run("tiny", "x").path.exists()


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        (lambda p: replace(p, origin=replace(p.origin, task="binary")), ("task_differs", "multiclass")),
        (lambda p: replace(p, classes=(*p.classes[:2], "blue")), (None, "1 class (red)")),
        (lambda p: replace(p, ids=("new", *p.ids[1:])), (None, "1 id")),
    ],
)
def test_incompatible_members_are_refused_with_the_first_example(trained_copy, change, facts):
    a, b = members(trained_copy)
    change(load_oof(b)).save(b.oof)
    with pytest.raises(KitError) as caught:
        pipeline.blend([a, b], method=MEAN, name="x", workspace=trained_copy)
    code, fact = facts
    assert code in (None, caught.value.code)
    assert "tiny/b (oof)" in caught.value.where and fact in caught.value.problem
    assert not trained_copy.run("tiny", "x").path.exists()


def test_members_with_other_test_ids_are_refused_and_nothing_is_written(trained_copy):
    a, b = members(trained_copy)
    test = load_test(b)
    replace(test, ids=test.ids[1:], probs=test.probs[1:]).save(b.test)
    with pytest.raises(KitError) as caught:
        pipeline.blend([a, b], method=MEAN, name="x", workspace=trained_copy)
    assert "tiny/b (test)" in caught.value.where and "1 id" in caught.value.problem
    assert not trained_copy.run("tiny", "x").path.exists()


class TestMembersOfDifferentFolds:
    """Members of different folds can be averaged; the blend has no score."""

    @staticmethod
    def give_other_folds(workspace):
        _, b = members(workspace)
        oof = load_oof(b)
        replace(oof, ids=oof.ids[5:], probs=oof.probs[5:], origin=replace(oof.origin, folds="else")).save(
            b.oof
        )

    @pytest.fixture
    def different_folds(self, trained_copy):
        self.give_other_folds(trained_copy)
        return trained_copy

    def test_the_mean_has_no_score(self, different_folds):
        done = pipeline.blend(
            members(different_folds),
            method=MEAN,
            name="both",
            workspace=different_folds,
            allow_fold_mismatch=True,
        ).blended
        assert done.evaluation is None
        oof, test = load_oof(done.run), load_test(done.run)
        assert oof.origin.folds == MIXED_FOLDS
        assert len(oof.ids) == 25
        left, right = (
            load_test(m).aligned_to(test.ids, test.classes, "x").probs for m in members(different_folds)
        )
        np.testing.assert_allclose(test.probs, (left + right) / 2, atol=1e-6)

    def test_the_blend_can_be_submitted(self, different_folds):
        run = pipeline.blend(
            members(different_folds),
            method=MEAN,
            name="both",
            workspace=different_folds,
            allow_fold_mismatch=True,
        ).blended.run
        submitted = pipeline.submit(run, workspace=different_folds)
        assert submitted.proof.cv is None
        assert submitted.file.path.exists()

    def test_evaluating_the_blend_is_refused(self, different_folds):
        run = pipeline.blend(
            members(different_folds),
            method=MEAN,
            name="both",
            workspace=different_folds,
            allow_fold_mismatch=True,
        ).blended.run
        with raises_kit_error("folds_mixed", where="tiny/both"):
            pipeline.evaluate(run, workspace=different_folds)

    def test_scores_of_a_previous_blend_with_this_name_are_removed(self, trained_copy):
        run, _ = blend(trained_copy)
        self.give_other_folds(trained_copy)
        pipeline.blend(
            members(trained_copy),
            method=MEAN,
            name=run.name,
            workspace=trained_copy,
            allow_fold_mismatch=True,
        )
        assert not run.metrics.exists()
        assert not run.report.exists()
        assert not run.decision.exists()

    def test_the_blend_is_refused_as_a_member_of_a_scored_blend(self, different_folds):
        a, _ = members(different_folds)
        run = pipeline.blend(
            members(different_folds),
            method=MEAN,
            name="both",
            workspace=different_folds,
            allow_fold_mismatch=True,
        ).blended.run
        with raises_kit_error("mixed_folds"):
            pipeline.blend([a, run], method=MEAN, name="x", workspace=different_folds)

    def test_fitted_methods_are_refused(self, different_folds):
        with raises_kit_error("method_needs_common_folds", where="--allow-fold-mismatch"):
            pipeline.blend(
                members(different_folds),
                method=Component(name="stack"),
                name="x",
                workspace=different_folds,
                allow_fold_mismatch=True,
            )

    def test_members_without_a_common_id_are_refused(self, different_folds):
        b = members(different_folds)[1]
        oof = load_oof(b)
        replace(oof, ids=tuple(f"x{i}" for i in oof.ids)).save(b.oof)
        with raises_kit_error("no_common_ids", where="tiny/b"):
            pipeline.blend(
                members(different_folds),
                method=MEAN,
                name="x",
                workspace=different_folds,
                allow_fold_mismatch=True,
            )


class TestPredictionFilesOfOtherTools:
    """CSV files with probabilities of another tool are joined by id and class name."""

    @staticmethod
    def write(run, folder, change=lambda table: table):
        files = []
        for side in ("oof", "test"):
            predictions = LOADERS[side](run)
            table = pd.DataFrame(predictions.probs.astype(str), columns=list(predictions.classes))
            table.insert(0, "id", list(predictions.ids))
            path = folder / f"foreign-{side}.csv"
            change(table).to_csv(path, index=False)
            files.append(path)
        return [tuple(files)]

    def test_files_are_blended_like_an_experiment(self, trained_copy):
        a, b = members(trained_copy)
        plain, _ = blend(trained_copy, "mean", "plain")
        shuffled = self.write(
            b, trained_copy.root, lambda t: t[["red", "id", "2", "10"]].sample(frac=1, random_state=0)
        )
        done = pipeline.blend(
            [a], method=MEAN, name="joined", workspace=trained_copy, foreign=shuffled
        ).blended
        assert_same(plain, done.run, tolerance=1e-6)  # rounded to text and normalized again
        assert [m.label for m in done.evaluation.members][-1] == "tiny/a"

    @pytest.mark.parametrize(
        ("change", "code", "fact"),
        [
            (lambda t: t.rename(columns={"red": "blue"}), "columns_not_classes", "red"),
            (lambda t: t.assign(more="1"), "columns_not_classes", "more"),
            (lambda t: t[1:], None, "1 id"),
            (lambda t: pd.concat([t, t[:1]]), None, "more than once"),
            (lambda t: t.assign(red="high"), "not_a_number", "'high' in row 2"),
            (lambda t: t.assign(red=""), "not_a_number", "'' in row 2"),
            (lambda t: t.assign(red="nan"), "not_a_number", "'red'"),
            (lambda t: t.assign(red="-3.2"), "not_probabilities", "30 rows"),
            (lambda t: t.assign(red="0.9", **{"2": "0.9"}), "not_probabilities", "30 rows"),
        ],
    )
    def test_invalid_files_are_refused(self, trained_copy, change, code, fact):
        a, b = members(trained_copy)
        files = self.write(b, trained_copy.root, change)
        with pytest.raises(KitError) as caught:
            pipeline.blend([a], method=MEAN, name="x", workspace=trained_copy, foreign=files)
        assert code in (None, caught.value.code)
        assert "foreign-oof" in caught.value.where and fact in caught.value.problem
        assert not trained_copy.run("tiny", "x").path.exists()

    def test_a_blend_with_files_can_be_submitted(self, trained_copy):
        a, b = members(trained_copy)
        run = pipeline.blend(
            [a], method=MEAN, name="joined", workspace=trained_copy, foreign=self.write(b, trained_copy.root)
        ).blended.run
        assert (
            pipeline.submit(run, workspace=trained_copy).proof.mirror
            == pipeline.evaluate(run, workspace=trained_copy).cv
        )

    def test_an_oof_file_without_a_test_file_is_refused(self, trained_copy):
        a, b = members(trained_copy)
        [(oof, _)] = self.write(b, trained_copy.root)
        with raises_kit_error("test_file_missing"):
            pipeline.blend([a], method=MEAN, name="x", workspace=trained_copy, foreign=[(oof, None)])


def test_a_blend_has_the_config_of_its_first_member(trained_copy):
    run, _ = blend(trained_copy)
    assert read_json(run.blend)["config"]["name"] == load_config(members(trained_copy)[0].config).name


def test_files_of_a_previous_blend_with_this_name_are_removed(trained_copy):
    run, _ = blend(trained_copy)
    pipeline.evaluate(run, workspace=trained_copy, decide=[Component(name="temperature")])
    predictions = load_oof(run)
    replace(predictions, origin=replace(predictions.origin, kind="held_out")).save(run.held_out("gone"))
    run.config.write_text("a soup config")
    blend(trained_copy, "gmean")
    assert run.held_out_sets() == []
    assert not run.config.exists()
    assert read_json(run.decision)["asked"] == [{"name": "auto"}]


def test_blends_of_different_methods_have_different_model_ids(trained_copy):
    models = {load_oof(blend(trained_copy, method)[0]).origin.models for method in ("mean", "gmean")}
    assert len(models) == 2


@pytest.mark.parametrize("method", PREDICTION_METHODS)
def test_a_blend_is_the_same_for_any_order_of_members(trained_copy, method):
    a, b = members(trained_copy)
    forward = pipeline.blend(
        [a, b], method=Component(name=method), name="forward", workspace=trained_copy
    ).blended.run
    backward = pipeline.blend(
        [b, a], method=Component(name=method), name="backward", workspace=trained_copy
    ).blended.run
    assert_same(forward, backward)

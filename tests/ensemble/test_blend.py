"""Blends of runs and of other tools' files: written, scored, submitted, refused."""

import shutil
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
from kit.predictions import MIXED_FOLDS, load_predictions
from kit.storage.files import read_json
from kit.storage.workspace import Workspace
from tests.conftest import raises_kit_error

MEAN = Component(name="mean")
OF_PREDICTIONS = [name for name in blend_methods if not blend_methods.get(name).blends_weights]


@pytest.fixture
def two(trained, tmp_path) -> Workspace:
    """A copy of the trained workspace, free to change."""
    shutil.copytree(trained.root, tmp_path / "copy")
    return Workspace.open(tmp_path / "copy")


def members(workspace):
    return [workspace.run("tiny", name) for name in "ab"]


def blend(workspace, method="mean", name="both", **more):
    """Blend both experiments, and return the blend's folder and evaluation."""
    done = pipeline.blend(
        members(workspace), method=Component(name=method), name=name, workspace=workspace, **more
    ).blended
    return done.run, pipeline.evaluate(done.run, workspace=workspace)


def assert_same(left, right, tolerance=0.0):
    for side in ("oof", "test"):
        a, b = (load_predictions(getattr(run, side)) for run in (left, right))
        np.testing.assert_allclose(a.probs, b.aligned_to(a.ids, a.classes, "x").probs, atol=tolerance)


@pytest.mark.parametrize("method", OF_PREDICTIONS)
def test_a_shuffled_and_reordered_member_changes_nothing(two, method):
    _, b = members(two)
    plain, _ = blend(two, method, "plain")
    for path in (b.oof, b.test):
        there = load_predictions(path)
        order = np.random.default_rng(0).permutation(len(there.ids))
        there.aligned_to([there.ids[i] for i in order], there.classes[::-1], "x").save(path)
    mixed, _ = blend(two, method, "mixed")
    assert_same(plain, mixed)


def test_a_renamed_member_changes_nothing(two):
    a, b = members(two)
    plain, _ = blend(two, "weights", "plain")
    b.path.rename(b.path.with_name("zebra"))
    renamed = pipeline.blend(
        [a, two.run("tiny", "zebra")], method=Component(name="weights"), name="renamed", workspace=two
    )
    assert_same(plain, renamed.blended.run)


def test_the_mean_is_the_mean_by_id(two):
    a, b = members(two)
    run, _ = blend(two)
    mean = load_predictions(run.oof)
    left, right = (load_predictions(each.oof).aligned_to(mean.ids, mean.classes, "x") for each in (a, b))
    np.testing.assert_allclose(mean.probs, (left.probs + right.probs) / 2, atol=1e-6)


def test_a_blend_is_scored_and_can_be_submitted_like_an_experiment(two):
    run, evaluation = blend(two, "gmean")
    assert evaluation.nested == evaluation.cv
    assert evaluation.as_dict()["nested"] == evaluation.cv
    assert two.find_run("tiny/both") == run
    submitted = pipeline.submit(run, workspace=two)
    assert submitted.proof.mirror == submitted.proof.cv == evaluation.cv
    assert run.report.exists()


def test_the_out_of_fold_file_of_a_fitted_blend_is_nested(two):
    """What is kept, scored and blended again was not fitted on the rows that it is about."""
    done = pipeline.blend(members(two), method=Component(name="stack"), name="both", workspace=two).blended
    scored = load_labeled_oof(done.run, two)
    assert scored.score() == done.evaluation.nested
    assert read_json(done.run.blend)["worth"]["nested"] == done.evaluation.nested
    again = pipeline.blend([done.run, members(two)[0]], method=MEAN, name="again", workspace=two).blended
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
def test_members_that_make_no_blend_are_refused(two, runs, method, name, code, fact):
    with raises_kit_error(code) as caught:
        chosen = [two.run("tiny", run) for run in runs]
        pipeline.blend(chosen, method=Component(name=method), name=name, workspace=two)
    assert fact in str(caught.value)
    assert not two.run("tiny", "x").path.exists()


@pytest.mark.parametrize(
    ("method", "name", "fact"),
    [
        (Component(name="maen"), "x", "mean"),
        (Component(name="hill_climb", step=3), "x", "steps"),
        (MEAN, "../x", "../x"),
    ],
)
def test_unknown_methods_options_and_names_are_refused(two, method, name, fact):
    with pytest.raises(KitError) as caught:
        pipeline.blend(members(two), method=method, name=name, workspace=two)
    assert fact in str(caught.value)
    assert not two.run("tiny", "x").path.exists()


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        (lambda p: replace(p, origin=replace(p.origin, folds="else")), ("folds_differ", "tiny/a")),
        (lambda p: replace(p, origin=replace(p.origin, task="binary")), ("task_differs", "multiclass")),
        (lambda p: replace(p, classes=(*p.classes[:2], "blue")), (None, "1 classes (red)")),
        (lambda p: replace(p, ids=("new", *p.ids[1:])), (None, "1 ids")),
    ],
)
def test_members_that_are_not_compatible_are_refused_with_the_first_example(two, change, facts):
    a, b = members(two)
    change(load_predictions(b.oof)).save(b.oof)
    with pytest.raises(KitError) as caught:
        pipeline.blend([a, b], method=MEAN, name="x", workspace=two)
    code, fact = facts
    assert code in (None, caught.value.code)
    assert "tiny/b (oof)" in caught.value.where and fact in caught.value.problem
    assert not two.run("tiny", "x").path.exists()


def test_a_blend_whose_test_sides_do_not_meet_leaves_nothing(two):
    a, b = members(two)
    test = load_predictions(b.test)
    replace(test, ids=test.ids[1:], probs=test.probs[1:]).save(b.test)
    with pytest.raises(KitError) as caught:
        pipeline.blend([a, b], method=MEAN, name="x", workspace=two)
    assert "tiny/b (test)" in caught.value.where and "1 ids" in caught.value.problem
    assert not two.run("tiny", "x").path.exists()


def test_a_blend_outlives_its_members(two):
    run, evaluation = blend(two)
    for member in members(two):
        shutil.rmtree(member.path)
    assert pipeline.evaluate(run, workspace=two).cv == evaluation.cv
    assert pipeline.submit(run, workspace=two).proof.cv == evaluation.cv


class TestOtherFolds:
    """Members of different folds can be averaged, and no score is claimed."""

    @pytest.fixture
    def apart(self, two):
        _, b = members(two)
        oof = load_predictions(b.oof)
        replace(oof, ids=oof.ids[5:], probs=oof.probs[5:], origin=replace(oof.origin, folds="else")).save(
            b.oof
        )
        return two

    def test_a_mean_without_a_score(self, apart):
        done = pipeline.blend(
            members(apart), method=MEAN, name="both", workspace=apart, allow_fold_mismatch=True
        ).blended
        assert done.evaluation is None
        oof, test = load_predictions(done.run.oof), load_predictions(done.run.test)
        assert oof.origin.folds == MIXED_FOLDS
        assert len(oof.ids) == 25
        left, right = (
            load_predictions(m.test).aligned_to(test.ids, test.classes, "x").probs for m in members(apart)
        )
        np.testing.assert_allclose(test.probs, (left + right) / 2, atol=1e-6)

    def test_it_is_submitted_and_its_form_proved_all_the_same(self, apart):
        run = pipeline.blend(
            members(apart), method=MEAN, name="both", workspace=apart, allow_fold_mismatch=True
        ).blended.run
        submitted = pipeline.submit(run, workspace=apart)
        assert submitted.proof.cv is None
        assert submitted.file.path.exists()

    def test_it_is_not_evaluated(self, apart):
        run = pipeline.blend(
            members(apart), method=MEAN, name="both", workspace=apart, allow_fold_mismatch=True
        ).blended.run
        with raises_kit_error("folds_mixed", where="tiny/both"):
            pipeline.evaluate(run, workspace=apart)

    def test_it_keeps_no_score_of_a_blend_that_had_its_name(self, apart):
        a, _ = members(apart)
        other = apart.run("tiny", "other")
        shutil.copytree(a.path, other.path)
        run = pipeline.blend([a, other], method=MEAN, name="both", workspace=apart).blended.run
        pipeline.evaluate(run, workspace=apart)
        pipeline.blend(members(apart), method=MEAN, name="both", workspace=apart, allow_fold_mismatch=True)
        assert not run.metrics.exists()
        assert not run.report.exists()
        assert not run.decision.exists()

    def test_it_is_no_member_of_a_blend_with_a_score(self, apart):
        a, _ = members(apart)
        run = pipeline.blend(
            members(apart), method=MEAN, name="both", workspace=apart, allow_fold_mismatch=True
        ).blended.run
        with raises_kit_error("mixed_folds"):
            pipeline.blend([a, run], method=MEAN, name="x", workspace=apart)

    def test_nothing_is_fitted_on_it(self, apart):
        with raises_kit_error("method_needs_common_folds", where="--allow-fold-mismatch"):
            pipeline.blend(
                members(apart),
                method=Component(name="stack"),
                name="x",
                workspace=apart,
                allow_fold_mismatch=True,
            )

    def test_no_id_in_common(self, apart):
        b = members(apart)[1]
        oof = load_predictions(b.oof)
        replace(oof, ids=tuple(f"x{i}" for i in oof.ids)).save(b.oof)
        with raises_kit_error("no_common_ids", where="tiny/b"):
            pipeline.blend(members(apart), method=MEAN, name="x", workspace=apart, allow_fold_mismatch=True)


class TestFilesOfOtherTools:
    """Probabilities of another tool are joined by id and class name."""

    @staticmethod
    def write(run, folder, change=lambda table: table):
        files = []
        for side in ("oof", "test"):
            there = load_predictions(getattr(run, side))
            table = pd.DataFrame(there.probs.astype(str), columns=list(there.classes))
            table.insert(0, "id", list(there.ids))
            path = folder / f"theirs-{side}.csv"
            change(table).to_csv(path, index=False)
            files.append(path)
        return [tuple(files)]

    def test_they_count_like_an_experiment(self, two):
        a, b = members(two)
        plain, _ = blend(two, "mean", "plain")
        shuffled = self.write(
            b, two.root, lambda t: t[["red", "id", "2", "10"]].sample(frac=1, random_state=0)
        )
        done = pipeline.blend([a], method=MEAN, name="joined", workspace=two, foreign=shuffled).blended
        assert_same(plain, done.run, tolerance=1e-6)  # text, and rows that are made to sum to 1 once more
        assert [m.label for m in done.evaluation.members][-1] == "tiny/a"

    @pytest.mark.parametrize(
        ("change", "code", "fact"),
        [
            (lambda t: t.rename(columns={"red": "blue"}), "columns_not_classes", "red"),
            (lambda t: t.assign(more="1"), "columns_not_classes", "more"),
            (lambda t: t[1:], None, "1 ids"),
            (lambda t: pd.concat([t, t[:1]]), None, "more than once"),
            (lambda t: t.assign(red="high"), "not_a_number", "'high' in row 2"),
            (lambda t: t.assign(red=""), "not_a_number", "'' in row 2"),
            (lambda t: t.assign(red="nan"), "not_a_number", "'red'"),
            (lambda t: t.assign(red="-3.2"), "not_probabilities", "30 rows"),
            (lambda t: t.assign(red="0.9", **{"2": "0.9"}), "not_probabilities", "30 rows"),
        ],
    )
    def test_files_that_hold_no_predictions_are_refused(self, two, change, code, fact):
        a, b = members(two)
        files = self.write(b, two.root, change)
        with pytest.raises(KitError) as caught:
            pipeline.blend([a], method=MEAN, name="x", workspace=two, foreign=files)
        assert code in (None, caught.value.code)
        assert "theirs-oof" in caught.value.where and fact in caught.value.problem
        assert not two.run("tiny", "x").path.exists()

    def test_a_blend_with_them_can_be_submitted(self, two):
        a, b = members(two)
        run = pipeline.blend(
            [a], method=MEAN, name="joined", workspace=two, foreign=self.write(b, two.root)
        ).blended.run
        assert pipeline.submit(run, workspace=two).proof.mirror == pipeline.evaluate(run, workspace=two).cv

    def test_a_pair_has_two_files(self, two):
        a, b = members(two)
        [(oof, _)] = self.write(b, two.root)
        with raises_kit_error("test_file_missing"):
            pipeline.blend([a], method=MEAN, name="x", workspace=two, foreign=[(oof, None)])


def test_a_member_with_numbers_that_are_none_is_refused(two):
    _, b = members(two)
    there = load_predictions(b.oof)
    there.probs[3, 0] = 0.5
    there.save(b.oof)
    broken = load_predictions(b.oof)
    import pyarrow.parquet as pq

    table = pq.read_table(b.oof)
    values = broken.probs[:, 0].copy()
    values[3] = np.nan
    import pyarrow as pa

    pq.write_table(table.set_column(1, table.column_names[1], pa.array(values)), b.oof)
    with raises_kit_error("not_finite") as caught:
        blend(two)
    assert "1 of 30 rows" in caught.value.problem and broken.ids[3] in caught.value.problem


def test_the_config_of_a_blend_is_that_of_its_first_member(two):
    run, _ = blend(two)
    assert read_json(run.blend)["config"]["name"] == load_config(members(two)[0].config).name


def test_what_another_blend_of_that_name_left_is_gone(two):
    run, _ = blend(two)
    pipeline.evaluate(run, workspace=two, decide=[Component(name="temperature")])
    there = load_predictions(run.oof)
    replace(there, origin=replace(there.origin, kind="held_out")).save(run.held_out("gone"))
    run.config.write_text("of a soup")
    blend(two, "gmean")
    assert run.held_out_sets() == []
    assert not run.config.exists()
    assert read_json(run.decision)["asked"] == [{"name": "auto"}]


def test_methods_make_different_predictions_known_apart(two):
    models = {load_predictions(blend(two, method)[0].oof).origin.models for method in ("mean", "gmean")}
    assert len(models) == 2


@pytest.mark.parametrize("method", OF_PREDICTIONS)
def test_the_order_of_members_changes_nothing(two, method):
    a, b = members(two)
    there = pipeline.blend([a, b], method=Component(name=method), name="there", workspace=two).blended.run
    back = pipeline.blend([b, a], method=Component(name=method), name="back", workspace=two).blended.run
    assert_same(there, back)

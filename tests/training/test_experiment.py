import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kit import pipeline
from kit.config import Component
from kit.config.load import leaves, load_config
from kit.errors import KitError
from kit.inference.experiment_models import assemble_oof
from kit.inference.predict import predict
from kit.predictions import load_oof, load_test
from kit.storage.files import read_json, write_text
from kit.storage.provenance import digest_of
from kit.storage.workspace import Workspace
from kit.training import experiment, run_state
from kit.training.kept_epochs import kept_epochs
from kit.training.trained_folds import AFTER_TRAINING, training_digest
from tests.conftest import (
    COLORS,
    RecordedProgress,
    draw,
    draw_class_folders,
    oof_bytes,
    raises_kit_error,
    write_config,
)


@pytest.fixture
def copy(trained, tmp_path) -> Workspace:
    shutil.copytree(trained.root, tmp_path / "copy")
    return Workspace.open(tmp_path / "copy")


def test_the_model_learns_the_colors(trained):
    assert pipeline.evaluate(trained.run("tiny", "a"), workspace=trained).cv > 0.8


def test_the_run_folder_contains_the_documented_files(trained):
    run = trained.run("tiny", "a")
    files = {p.relative_to(run.path) for p in run.path.rglob("*") if p.is_file()}
    names = {str(p) for p in files if p.parts[0] != ".locks"}
    fold = {f"fold-{k}/{n}" for k in range(2) for n in ("best.safetensors", "done.json", "history.csv")}
    assert names == fold | {
        "config.yaml", "environment.json", "training_data.json", "oof.parquet", "test.parquet", "metrics.json", "report.html",
        "decision.json", "confusion.csv", "suspects.csv",
    }  # fmt: skip
    environment = read_json(run.environment)
    assert {"kit", "torch", "commit", "device", "precision", "seed"} <= set(environment)
    assert environment["precision"] == "fp32 (as configured)"


def test_oof_and_test_cover_every_id_once(trained):
    run = trained.run("tiny", "a")
    folds = pd.read_csv(trained.folds("tiny"), dtype=str)
    oof, test = load_oof(run), load_test(run)
    assert sorted(oof.ids) == sorted(folds["id"])
    assert test.ids == tuple(f"{i}.png" for i in range(8))
    np.testing.assert_allclose(oof.probs.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(test.probs.sum(axis=1), 1, atol=1e-5)


def test_the_same_seed_gives_bit_identical_oof_probs(trained, tmp_path):
    workspace = Workspace.open(tmp_path)
    draw_class_folders(tmp_path / "data" / "tiny")
    pipeline.run(load_config(write_config(workspace, name="a")), workspace=workspace)
    assert workspace.folds("tiny").read_bytes() == trained.folds("tiny").read_bytes()
    assert oof_bytes(workspace) == oof_bytes(trained)
    pipeline.run(load_config(write_config(workspace, name="other", seed=43)), workspace=workspace)
    assert oof_bytes(workspace, "other") != oof_bytes(trained)


def test_a_second_run_skips_finished_stages(copy):
    progress = RecordedProgress()
    before = {p: p.stat().st_mtime_ns for p in copy.run("tiny", "a").path.rglob("*.safetensors")}
    pipeline.run(load_config(copy.config("a")), workspace=copy, progress=progress)
    assert "fold 0 is already trained" in progress
    assert "predicted already by the same models" in progress
    assert before == {p: p.stat().st_mtime_ns for p in before}


KILLED = """
import os, random, sys
from pathlib import Path
from kit import pipeline
from kit.config.load import load_config
from kit.engine.models import checkpoints
from kit.engine.fit import trainer
from kit.storage.workspace import Workspace

moment, workspace = sys.argv[2], Workspace.open(Path(sys.argv[1]))

def die(*_, **__):
    os.kill(os.getpid(), 9)

def dying_in(owner, name, of_fold, countdown):
    whole = getattr(owner, name)
    def wrapped(self, *arguments, **options):
        nonlocal countdown
        result = whole(self, *arguments, **options)
        if self.folder.path.name == of_fold:
            countdown -= 1
            if countdown == 0:
                die()
        return result
    setattr(owner, name, wrapped)

if moment == "mid-epoch":
    dying_in(trainer.FoldTrainer, "_take_step", "fold-1", 3)
elif moment == "mid-validation":
    trainer.predict_probs = lambda *a, between, **o: (die() if Path(sys.argv[1], "runs/tiny/a/fold-1/last.pt").exists() else PREDICT(*a, between=between, **o))
elif moment == "mid-write":
    save = checkpoints.torch.save
    def save_half(state, draft):
        save(state, draft)
        if draft.parent.name == "fold-1" and state["state"]["epoch"] == 1:
            draft.write_bytes(draft.read_bytes()[:999])
            die()
    checkpoints.torch.save = save_half
pipeline.run(load_config(workspace.config("a")), workspace=workspace)
""".replace("moment, workspace", "PREDICT = trainer.predict_probs\nmoment, workspace", 1)


@pytest.mark.parametrize(
    "moment",
    [
        "mid-epoch",
        pytest.param("mid-validation", marks=pytest.mark.slow),
        pytest.param("mid-write", marks=pytest.mark.slow),
    ],
)
def test_killed_and_resumed_equals_uninterrupted_bit_for_bit(trained, tmp_path, moment):
    workspace = Workspace.open(tmp_path)
    draw_class_folders(tmp_path / "data" / "tiny")
    every_step = {"checkpoint__every_minutes": 1e-9}
    config = load_config(write_config(workspace, name="a", **every_step))
    command = [sys.executable, "-c", KILLED, str(tmp_path), moment]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    run = workspace.run("tiny", "a")
    assert run.fold(0).done.exists()
    assert not run.fold(1).done.exists()
    progress = RecordedProgress()
    pipeline.run(config, workspace=workspace, progress=progress)
    assert "fold 1 resumes after epoch" in progress
    assert oof_bytes(workspace) == oof_bytes(trained)
    left = {path.name for path in run.fold(1).path.iterdir()}
    assert left == {"best.safetensors", "done.json", "history.csv"}


def test_a_truncated_checkpoint_restarts_the_fold(trained, tmp_path):
    workspace = Workspace.open(tmp_path)
    draw_class_folders(tmp_path / "data" / "tiny")
    fold = workspace.run("tiny", "a").fold(0)
    fold.path.mkdir(parents=True)
    fold.resume.write_bytes(b"PK cut")
    pipeline.run(load_config(write_config(workspace, name="a")), workspace=workspace)
    assert oof_bytes(workspace) == oof_bytes(trained)


def test_another_config_with_the_same_name_is_refused_with_the_changed_values(copy):
    before = oof_bytes(copy)
    changed = load_config(copy.config("a"), ["train.lr=0.5"])
    with pytest.raises(KitError) as caught:
        experiment.train(changed, copy)
    assert "train.lr: 0.01 -> 0.5" in str(caught.value)
    assert "--fresh" in str(caught.value)
    assert oof_bytes(copy) == before
    experiment.train(changed, copy, fresh=True)
    assert not copy.run("tiny", "a").oof.exists()


def test_prediction_settings_may_change_after_training(copy):
    config = load_config(copy.config("a"), ["predict.tta=[identity, hflip]"])
    finished = pipeline.run(config, workspace=copy)
    assert finished.evaluation.tta == ["identity", "hflip"]


def test_folds_other_than_the_trained_ones_are_refused(copy):
    config = load_config(copy.config("a"), ["folds.seed=1"])
    pipeline.folds(config, workspace=copy, force=True)
    for again in (
        lambda: experiment.train(load_config(copy.config("a")), copy),
        lambda: predict(copy.run("tiny", "a"), copy),
    ):
        with raises_kit_error("data_changed") as caught:
            again()
        assert "other folds or labels" in caught.value.problem
    with raises_kit_error("artifact_stale"):
        pipeline.evaluate(copy.run("tiny", "a"), workspace=copy)


def test_a_folds_file_made_with_another_seed_gives_a_warning(tiny):
    pipeline.folds(load_config(write_config(tiny)), workspace=tiny)
    progress = RecordedProgress()
    experiment.train(
        load_config(write_config(tiny), ["folds.seed=9", "train.epochs=2"]), tiny, [0], progress=progress
    )
    assert "was not made with folds.seed 9" in progress


def test_prediction_needs_every_fold(tiny):
    config = load_config(write_config(tiny), ["train.epochs=2"])
    run = experiment.train(config, tiny, only=[1])
    assert (list(run_state.fold_scores(run)[0]), run_state.fold_scores(run)[1]) == ([1], 2)
    with raises_kit_error("folds_untrained") as caught:
        predict(run, tiny)
    assert "1 of 2 folds" in caught.value.problem and "(0)" in caught.value.problem
    with raises_kit_error("unknown_fold", where="--fold 2"):
        experiment.train(config, tiny, only=[2])


def test_unreadable_training_images_are_refused_or_skipped_and_test_images_get_the_prior(tiny):
    (tiny.root / "data/tiny/train/2/0.png").write_bytes(b"")
    (tiny.root / "data/tiny/test/5.png").write_bytes(b"no image")
    config = load_config(write_config(tiny), ["train.epochs=2"])
    with raises_kit_error("image_unreadable"):
        pipeline.run(config, workspace=tiny)
    assert not tiny.folds("tiny").exists()
    assert not tiny.run("tiny", "tiny-cnn").path.exists()
    progress = RecordedProgress()
    made = pipeline.folds(
        load_config(write_config(tiny), ["competition.on_bad_image=skip"]), workspace=tiny, progress=progress
    ).folds
    assert len(made.table) == 29
    assert "1 unreadable training images are left out (train/2/0.png)" in progress
    progress = RecordedProgress()
    skipping = load_config(write_config(tiny), ["train.epochs=2", "competition.on_bad_image=skip"])
    finished = pipeline.run(skipping, workspace=tiny, progress=progress)
    assert "1 unreadable training images are left out (train/2/0.png)" in progress
    assert "1 test image cannot be read and gets the class prior (5.png)" in progress
    test = load_test(finished.run)
    row = test.probs[test.ids.index("5.png")]
    np.testing.assert_allclose(row, [9 / 29, 10 / 29, 10 / 29], atol=1e-6)
    assert finished.submitted.unreadable == ("5.png",)
    assert "5.png" in finished.run.report.read_text()


def test_early_stopping_keeps_the_best_epoch(tiny):
    overrides = ["train.epochs=30", "train.patience=2", "train.keep=best"]
    run = experiment.train(load_config(write_config(tiny), overrides), tiny, only=[0])
    done = read_json(run.fold(0).done)
    history = pd.read_csv(run.fold(0).history)
    assert done["epochs"] == len(history) == done["epoch"] + 2 < 30
    assert done["score"] == history["score"].max()


def test_the_gain_of_picking_the_best_epoch_is_told(tiny):
    config = load_config(write_config(tiny), ["train.epochs=2", "train.keep=auto"])
    run = experiment.train(config, tiny)
    for k in range(2):
        history = pd.read_csv(run.fold(k).history)
        assert read_json(run.fold(k).done)["epoch"] == 2
        history["score"] = [history["score"].iloc[-1] + 0.25, history["score"].iloc[-1]]
        history.to_csv(run.fold(k).history, index=False)
    found = kept_epochs(run, 2, higher_is_better=True)
    assert found.kept == found.last == pytest.approx(found.best - 0.25)
    assert "(+0.2500)" in found.text()
    lower = kept_epochs(run, 2, higher_is_better=False)
    assert lower.best == lower.last
    assert lower.text() == ""


def test_weights_that_an_earlier_default_trained_stay_valid_for_keep_best_only(workspace):
    earlier = load_config(write_config(workspace), ["train.keep=best"])
    values = dict(leaves(earlier.model_dump(exclude_defaults=True)))
    assert values.pop("train.keep") == "best"  # an earlier version left it out, as its default
    auto = load_config(write_config(workspace), ["train.keep=auto"])
    assert training_digest(earlier) == digest_of(
        {key: value for key, value in values.items() if not key.startswith(AFTER_TRAINING)}
    )
    assert training_digest(auto) != training_digest(earlier)


def test_all_unknown_names_are_reported_at_once_before_data_is_read(workspace):
    overrides = [
        "model.name=resnet5O",
        "train.loss={name: focall}",
        "augment.preset=hevy",
        "predict.tta=[hflop]",
    ]
    with pytest.raises(KitError) as caught:
        experiment.train(load_config(write_config(workspace), overrides), workspace)
    text = str(caught.value)
    assert "4 mistakes" in text
    for hint in ("resnet50", "there is no loss 'focall'", "mean heavy?", "mean hflip"):
        assert hint in text


def test_a_diverging_loss_stops_with_fold_epoch_and_step(tiny):
    overrides = ["train.optimizer=sgd", "train.lr=1e30", "train.schedule.warmup_epochs=0"]
    progress = RecordedProgress()
    with raises_kit_error("loss_not_finite") as caught:
        experiment.train(load_config(write_config(tiny), overrides), tiny, only=[0], progress=progress)
    assert str(caught.value.where).endswith("fold-0")
    assert re.search(r"epoch 1, step \d \(images first 3: .*png, .*png, .*png\)", caught.value.problem)
    assert sum("at half the learning rate" in line for line in progress.lines) == 1


def test_changed_training_images_are_refused(copy):
    draw(copy.root / "data/tiny/train/2/0.png", COLORS["red"], seed=999)
    with raises_kit_error("data_changed") as caught:
        pipeline.run(load_config(copy.config("a")), workspace=copy)
    assert "other training images" in caught.value.problem


def test_a_changed_test_image_is_predicted_again(copy):
    before = load_test(copy.run("tiny", "a"))
    draw(copy.root / "data/tiny/test/0.png", COLORS["green"], seed=999)
    pipeline.run(load_config(copy.config("a")), workspace=copy)
    after = load_test(copy.run("tiny", "a"))
    assert (before.probs[0] != after.probs[0]).any()
    np.testing.assert_array_equal(before.probs[1:], after.probs[1:])


def test_damaged_predictions_are_computed_again(copy, trained):
    copy.run("tiny", "a").oof.write_bytes(b"PAR1 cut short")
    pipeline.run(load_config(copy.config("a")), workspace=copy)
    assert oof_bytes(copy) == oof_bytes(trained)


def test_only_the_fold_with_a_damaged_model_is_trained_again(copy, trained):
    run = copy.run("tiny", "a")
    run.fold(1).model.write_bytes(b"cut")
    untouched = run.fold(0).model.stat().st_mtime_ns
    pipeline.run(load_config(copy.config("a")), workspace=copy)
    assert oof_bytes(copy) == oof_bytes(trained)
    assert run.fold(0).model.stat().st_mtime_ns == untouched


def test_fresh_discards_only_the_given_folds(copy):
    run = copy.run("tiny", "a")
    untouched = run.fold(0).model.stat().st_mtime_ns
    experiment.train(load_config(copy.config("a")), copy, only=[1], fresh=True)
    assert run.fold(0).model.stat().st_mtime_ns == untouched
    assert not run.oof.exists()


def test_fresh_keeps_the_run_if_the_weights_are_missing(copy):
    changed = load_config(copy.config("a"), ["model={name: resnet18, weights: gone.safetensors}"])
    with raises_kit_error("weights_not_found", where="model.weights gone.safetensors"):
        experiment.train(changed, copy, fresh=True)
    assert copy.run("tiny", "a").fold(0).done.exists()


def test_the_submission_format_is_checked_before_training(tiny):
    config = load_config(write_config(tiny), ["submission.sample=simple.csv"])
    with raises_kit_error("file_missing") as caught:
        pipeline.run(config, workspace=tiny)
    assert str(caught.value.where).endswith("simple.csv")
    assert not tiny.run("tiny", "tiny-cnn").path.exists()


@pytest.mark.parametrize(
    ("overrides", "code", "where"),
    [
        (
            ["model={name: 'torchvision:alexnet', pretrained: false}", "image.size=24"],
            "image_size_unsuitable",
            "image.size",
        ),
        (
            ["train.loss={name: cross_entropy, label_smoothing: high}"],
            "option_invalid",
            "train.loss.label_smoothing",
        ),
        (
            ["train.loss={name: cross_entropy, label_smoothing: -1}"],
            "option_invalid",
            "train.loss.label_smoothing",
        ),
        (["model.options={dropout: 2}"], "option_invalid", "model.options.dropout"),
        (["image.mean=[0.5]"], "channels_differ", "image.mean"),
    ],
)
def test_invalid_values_are_refused_before_files_are_written(tiny, overrides, code, where):
    with raises_kit_error(code, where):
        experiment.train(load_config(write_config(tiny), overrides), tiny)
    assert not tiny.folds("tiny").exists()


def test_the_score_leaves_out_a_class_that_is_never_validated_and_says_so(workspace):
    root = workspace.root / "data" / "tiny"
    draw_class_folders(root)
    for i in range(1, 10):
        (root / f"train/red/{i}.png").unlink()
    rows = "".join(f"{i}.png,0,0,1\n" for i in range(8))
    write_text(root / "sample_submission.csv", f"ID,2,10,red\n{rows}")
    changes = {"competition__metric": "roc_auc", "submission__kind": "probabilities"}
    config = load_config(write_config(workspace, folds__rare="train", **changes))
    progress = RecordedProgress()
    done = pipeline.run(config, workspace=workspace, progress=progress)
    assert "roc_auc leaves out red" in progress
    assert "class red" in done.evaluation.not_computed
    assert done.submitted.proof.mirror == done.submitted.proof.cv == done.evaluation.cv


def test_a_fold_that_the_metric_cannot_score_is_refused_before_training(workspace):
    root = workspace.root / "data" / "tiny"
    draw_class_folders(root)
    shutil.rmtree(root / "train/2")
    write_text(root / "sample_submission.csv", "ID,Label\n" + "".join(f"{i}.png,0.5\n" for i in range(8)))
    for i in range(2, 10):
        (root / f"train/red/{i}.png").unlink()
    changes = {"competition__task": "binary", "competition__metric": "roc_auc", "folds__rare": "train"}
    changes |= {"submission__kind": "score"}
    with raises_kit_error("metric_not_computable"):
        experiment.train(load_config(write_config(workspace, folds__count=3, **changes)), workspace)
    assert not list(workspace.run("tiny", "tiny-cnn").path.glob("fold-*/history.csv"))


def test_a_metric_that_does_not_suit_the_number_of_classes_is_refused(tiny):
    config = load_config(write_config(tiny), ["competition.metric={name: top_k, k: 3}"])
    with raises_kit_error("k_too_large", where="metric top_k(k=3)"):
        experiment.train(config, tiny)


def test_the_metric_may_change_only_if_it_did_not_select_the_epoch(copy):
    finished = pipeline.run(
        load_config(copy.config("a"), ["competition.metric=balanced_accuracy"]), workspace=copy
    )
    assert finished.evaluation.metric == "balanced_accuracy"
    with raises_kit_error("config_changed") as caught:
        pipeline.run(
            load_config(copy.config("a"), ["train.keep=best", "competition.metric=accuracy"]), workspace=copy
        )
    assert "train.keep: last -> best" in str(caught.value)


def test_predictions_of_other_models_are_not_submitted(copy):
    run = copy.run("tiny", "a")
    test = load_test(run)
    replace(test, origin=replace(test.origin, models="others")).save(run.test)
    with raises_kit_error("artifact_stale"):
        pipeline.submit(run, workspace=copy)


def test_assemble_oof_returns_rows_in_table_order():
    rows = {0: np.array([False, True, False, True]), 1: np.array([True, False, True, False])}
    probs = {0: np.array([[1.0], [3.0]]), 1: np.array([[0.0], [2.0]])}
    assert assemble_oof(rows, probs).ravel().tolist() == [0, 1, 2, 3]
    with raises_kit_error("oof_incomplete", where="fold 1"):
        assemble_oof(rows, {0: probs[0]})
    with raises_kit_error("oof_incomplete", where="fold 1"):
        assemble_oof(rows, {0: probs[0], 1: probs[1][:1]})
    with raises_kit_error("oof_incomplete", where="folds"):
        assemble_oof({0: rows[0]}, probs)


def test_the_oof_of_repeated_folds_is_their_mean():
    everything = np.array([True, True])
    twice = assemble_oof(
        {0: everything, 1: everything}, {0: np.array([[0.2], [1.0]]), 1: np.array([[0.4], [0.0]])}
    )
    np.testing.assert_allclose(twice.ravel(), [0.3, 0.5])


def test_a_blend_cannot_be_trained_or_predicted(copy):
    run = pipeline.blend(
        [copy.run("tiny", n) for n in "ab"], method=Component(name="mean"), name="both", workspace=copy
    ).blended.run
    with raises_kit_error("is_blend"):
        predict(run, copy)
    with raises_kit_error("name_taken"):
        experiment.train(load_config(copy.config("a"), ["name=both"]), copy)


@pytest.mark.parametrize("task", ["multilabel", "binary"])
def test_other_tasks_run_from_training_to_submission(workspace, task):
    from tests.conftest import TINY

    data = workspace.root / "data" / "tiny"
    names = ["red", "green"]
    rows = []
    for i in range(24):
        draw(data / "train" / f"{i}.png", COLORS[names[i % 2]], i)
        rows.append({"id": f"{i}.png", "kind": names[i % 2], "red": int(i % 2 == 0), "dark": int(i % 3 == 0)})
    for i in range(4):
        draw(data / "test" / f"{i}.png", COLORS[names[i % 2]], 900 + i)
    pd.DataFrame(rows).to_csv(data / "train.csv", index=False)
    label = "kind" if task == "binary" else ["red", "dark"]
    kind = {"kind": "score", "label": "p"} if task == "binary" else {"kind": "probabilities"}
    values = TINY | {
        "competition": TINY["competition"]
        | {
            "task": task,
            "metric": "roc_auc",
            "train": {"layout": "csv", "folder": "train", "file": "train.csv", "id": "id", "label": label},
            "test": {"folder": "test"},
        },
        "submission": {"id": "id"} | kind,
    }
    finished = pipeline.run(load_config(write_config(workspace, values)), workspace=workspace)
    assert finished.submitted.proof.mirror == pytest.approx(finished.evaluation.cv, abs=1e-6)
    header = Path(finished.submitted.file.path).read_text().splitlines()[0]
    assert header == ("id,p" if task == "binary" else "id,dark,red")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("c++") is None, reason="torch compiles for a CPU with a C++ compiler")
def test_a_compiled_network_gives_the_same_predictions_and_its_compile_time_is_noted(trained, copy):
    config = load_config(copy.config("a"), ["train.compile=true", "name=compiled"])
    progress = RecordedProgress()
    run = pipeline.run(config, workspace=copy, progress=progress).run
    assert "torch.compile and a step took" in progress
    ours, theirs = load_oof(run), load_oof(trained.run("tiny", "a"))
    np.testing.assert_allclose(ours.probs, theirs.probs, atol=0.05)  # rounding differs in every step


def test_a_network_that_cannot_be_compiled_is_one_error(tiny_config, tiny, monkeypatch):
    from torch._dynamo.exc import BackendCompilerFailed
    from torch.fx.experimental.proxy_tensor import make_fx

    from kit.engine.fit.train_step import TrainStep

    def fails(*_):
        raise BackendCompilerFailed(make_fx, RuntimeError("no compiler"), None)

    monkeypatch.setattr(TrainStep, "__call__", fails)
    train = tiny_config.train.model_copy(update={"compile": True})
    with raises_kit_error("compile_failed", where="train.compile"):
        experiment.train(tiny_config.model_copy(update={"train": train}), tiny)

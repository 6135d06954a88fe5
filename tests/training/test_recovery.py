"""Training recovers from a non-finite loss, out-of-memory, time limits, signals and damaged files."""

import json
import os
import shutil
import signal
import subprocess
import sys

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from kit import pipeline
from kit.config.load import load_config
from kit.engine.models.small_cnn import simple_cnn, small_models
from kit.errors import Interrupted
from kit.runtime.deadline import Deadline
from kit.storage.files import read_json
from kit.storage.workspace import Workspace
from kit.training import experiment, run_state
from tests.conftest import (
    RecordedProgress,
    draw_class_folders,
    kit,
    oof_bytes,
    raises_kit_error,
    wait_for,
    write_config,
)

LONG = ["train.epochs=400", "train.schedule.warmup_epochs=1"]


@pytest.fixture
def copy(trained, tmp_path) -> Workspace:
    shutil.copytree(trained.root, tmp_path / "copy")
    return Workspace.open(tmp_path / "copy")


def rates(workspace: Workspace) -> list[float]:
    return list(pd.read_csv(workspace.run("tiny", "tiny-cnn").fold(0).history)["lr"])


# --- a loss that is not finite


def test_after_a_non_finite_loss_training_resumes_at_half_the_learning_rate(tiny, monkeypatch):
    from kit.engine.fit import trainer

    overrides = ["train.epochs=4", "train.schedule={name: constant, warmup_epochs: 0}"]
    config = load_config(write_config(tiny, checkpoint__every_minutes=1e-9), overrides)
    original = trainer.FoldTrainer._take_step
    broken = []

    def breaks_in_epoch_3(self, number, batch):
        original(self, number, batch)
        if number == 3 and not broken:
            broken.append(self.state.step)
            with torch.no_grad():
                next(self.components.model.parameters()).fill_(float("nan"))

    monkeypatch.setattr(trainer.FoldTrainer, "_take_step", breaks_in_epoch_3)
    progress = RecordedProgress()
    experiment.train(config, tiny, only=[0], progress=progress)
    assert "the loss is not finite in epoch 3" in progress
    assert any("fold 0 resumes after epoch" in line for line in progress.lines)
    assert rates(tiny) == pytest.approx([0.01, 0.01, 0.005, 0.005])


# --- memory


def with_memory_for(limit: int):
    """Return a network class that runs out of memory with more than ``limit`` images."""

    class LimitedMemory(torch.nn.Module):
        seen: list[int] = []  # noqa: RUF012 - shared on purpose

        def __init__(self, network):
            super().__init__()
            self.network = network

        def forward(self, images):
            if len(images) > limit:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
            if self.training:
                self.seen.append(len(images))
            return self.network(images)

    return LimitedMemory


@pytest.fixture
def limited_memory_model(request):
    made = with_memory_for(request.param)

    def build(num_classes, channels, *, widths: tuple[int, ...] = (8, 16)):
        return made(simple_cnn(num_classes, channels, widths=widths))

    small_models.register("limited_memory")(build)
    yield made
    del small_models._entries["limited_memory"]


@pytest.mark.slow
@pytest.mark.parametrize("limited_memory_model", [3], indirect=True)
def test_out_of_memory_halves_the_micro_batch_for_all_folds(tiny, limited_memory_model):
    overrides = ["model.name=limited_memory", "train.epochs=2", "predict.batch_size=8"]
    config = load_config(write_config(tiny), overrides)
    progress = RecordedProgress()
    pipeline.run(config, workspace=tiny, progress=progress)
    notes = [line for line in progress.lines if "out of memory" in line]
    assert [line.split(":")[0] for line in notes[:2]] == [
        "out of memory with a micro-batch of 8 images",
        "out of memory with a micro-batch of 4 images",
    ]
    run = tiny.run("tiny", "tiny-cnn")
    assert read_json(run.memory)["micro_batch_size"] == 2
    assert set(limited_memory_model.seen) == {2, 3}  # a batch of 7 is 2, 2 and 3: none of a single image
    steps_of_an_epoch = pd.read_csv(run.fold(1).history)
    assert len(steps_of_an_epoch) == 2


@pytest.mark.parametrize("limited_memory_model", [0], indirect=True)
def test_too_little_memory_for_two_images_is_one_error(tiny, limited_memory_model):
    config = load_config(write_config(tiny), ["model.name=limited_memory", "train.epochs=2"])
    from kit.engine.fit import validate_config
    from kit.engine.models.build import build_model

    recipe_trial = validate_config._trial_run
    built, _ = build_model(config.model, config.image, 3)
    validate_config._trial_run = lambda _: built  # the trial run would run out of memory first
    try:
        with raises_kit_error("out_of_memory", where="train.batch_size"):
            experiment.train(config, tiny, only=[0])
    finally:
        validate_config._trial_run = recipe_trial


# --- time, signals, other processes


def test_a_time_limit_stops_cleanly_and_the_next_run_resumes(tiny):
    import kit.engine.fit.trainer  # noqa: F401 - importing torch and timm must not use up the time limit

    config = load_config(write_config(tiny), [*LONG, "train.epochs=4000"])  # more than any machine trains
    progress = RecordedProgress()
    with pytest.raises(Interrupted, match=r"fold-0 stopped in epoch \d+, step \d of 2: the time limit"):
        experiment.train(config, tiny, only=[0], progress=progress, deadline=Deadline(10.0))
    assert "plan: 0:" in progress  # of the 10 seconds, rounded
    assert "training will stop in about epoch" in progress or "both will finish" in progress
    fold = tiny.run("tiny", "tiny-cnn").fold(0)
    done = len(pd.read_csv(fold.history))
    assert 0 < done < 4000
    assert fold.resume.exists()
    progress = RecordedProgress()
    with pytest.raises(Interrupted):
        experiment.train(config, tiny, only=[0], progress=progress, deadline=Deadline(10.0))
    assert f"fold 0 resumes after epoch {done}/4000" in progress
    assert len(pd.read_csv(fold.history)) > done


class StopsAtCall(Deadline):
    """A deadline that ends at the given call: one before the fold, two in each epoch, one in its validation."""

    def __init__(self, call: int):
        super().__init__()
        self.calls, self.call = 0, call

    def reason_to_stop(self, needed: float) -> str:
        self.calls += 1
        return "a test" if self.calls >= self.call else ""


@pytest.mark.parametrize("average", ["ema", pytest.param("{name: swa, start: 0.5}", marks=pytest.mark.slow)])
@pytest.mark.parametrize("call", [9, 10], ids=["in the last step", "in the validation"])
def test_a_resumed_weight_average_equals_the_uninterrupted_one(tiny, average, call):
    overrides = ["train.epochs=4", f"train.average={average}"]
    whole = load_config(write_config(tiny), [*overrides, "name=whole"])
    stopped = load_config(write_config(tiny), [*overrides, "name=stopped"])
    expected = load_file(experiment.train(whole, tiny, only=[0]).fold(0).model)
    with pytest.raises(Interrupted, match="epoch 3, step 2 of 2: a test"):
        experiment.train(stopped, tiny, only=[0], deadline=StopsAtCall(call))
    found = load_file(experiment.train(stopped, tiny, only=[0]).fold(0).model)
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_without_time_for_a_fold_no_fold_starts(tiny):
    with pytest.raises(Interrupted, match="time limit"):
        experiment.train(load_config(write_config(tiny)), tiny, deadline=Deadline(0.01))
    assert not tiny.run("tiny", "tiny-cnn").fold(0).done.exists()


def test_interrupted_predictions_reuse_partial_predictions(copy, trained):
    run = copy.run("tiny", "a")
    run.oof.unlink()

    class OneBegin(Deadline):
        """A deadline with time for one set of images and one model."""

        calls = 0

        def begin(self, what, needed):
            self.calls += 1
            if self.calls > 1:
                raise Interrupted(f"Stopped before {what}")

    with pytest.raises(Interrupted):
        pipeline.predict(run, workspace=copy, time_limit=OneBegin())
    partial = list((run.path / ".answers").iterdir())
    assert len(partial) == 1
    assert not run.oof.exists()
    pipeline.predict(run, workspace=copy)
    assert oof_bytes(copy) == oof_bytes(trained)
    assert not (run.path / ".answers").exists()


def test_ctrl_c_stops_after_the_step_and_the_message_has_the_resume_command(tiny):
    config = write_config(tiny, train__epochs=4000)
    process = kit(tiny, "train", str(config), "--fold", "0")
    fold = tiny.run("tiny", "tiny-cnn").fold(0)
    wait_for(fold.resume.exists)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in stderr
    assert f"Resume with: kit train {config} --fold 0" in " ".join(stderr.split())
    assert "stopped in epoch" in stderr
    assert fold.resume.exists()


@pytest.mark.slow  # 12 s: three trainings; tests/storage/test_locks.py has the locks alone
def test_a_second_process_cannot_train_the_same_fold_but_can_train_another(tiny):
    config = write_config(tiny, train__epochs=4000)
    first = kit(tiny, "train", str(config), "--fold", "0")
    try:
        wait_for(tiny.run("tiny", "tiny-cnn").fold(0).resume.exists)
        second = kit(tiny, "train", str(config), "--fold", "0")
        _, stderr = second.communicate(timeout=60)
        assert second.returncode == 1
        assert f"training fold 0 is running in another process (process {first.pid} on" in " ".join(
            stderr.split()
        )
        with pytest.raises(Interrupted):
            experiment.train(load_config(config), tiny, only=[1], deadline=Deadline(6.0))
    finally:
        first.kill()
        first.communicate()


# --- workers, images, disks


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_predictions_do_not_depend_on_the_number_of_workers(trained, tmp_path, workers):
    workspace = Workspace.open(tmp_path)
    draw_class_folders(tmp_path / "data" / "tiny")
    pipeline.run(
        load_config(write_config(workspace, name="a"), [f"train.workers={workers}"]), workspace=workspace
    )
    assert oof_bytes(workspace) == oof_bytes(trained)


def test_after_a_worker_dies_training_resumes(tiny, monkeypatch):
    from kit.engine.data import datasets

    original = datasets.ImageDataset.__getitems__
    main = os.getpid()

    def killed_in_epoch_3(self, keys):
        if keys[0].epoch == 3 and os.getpid() != main:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(self, keys)

    monkeypatch.setattr(datasets.ImageDataset, "__getitems__", killed_in_epoch_3)
    config = load_config(write_config(tiny), ["train.workers=1", "train.epochs=5"])
    with raises_kit_error("worker_died", where="train.workers"):
        experiment.train(config, tiny, only=[0])
    progress = RecordedProgress()
    without = load_config(write_config(tiny), ["train.workers=0", "train.epochs=5"])
    experiment.train(without, tiny, only=[0], progress=progress)
    assert "fold 0 resumes after epoch 2/5" in progress


def test_an_image_removed_during_training_is_named_and_training_resumes(tiny, monkeypatch):
    from kit.engine.fit import trainer

    config = load_config(write_config(tiny), ["image.cache=none", "train.epochs=5"])
    image = tiny.root / "data/tiny/train/2/0.png"
    content = image.read_bytes()
    original = trainer.FoldTrainer._validate_epoch

    def remove_image_after_epoch_2(self, progress, label):
        original(self, progress, label)
        if self.state.epoch == 2:
            image.unlink(missing_ok=True)

    monkeypatch.setattr(trainer.FoldTrainer, "_validate_epoch", remove_image_after_epoch_2)
    with raises_kit_error("image_unreadable", where="train/2/0.png"):
        experiment.train(config, tiny, only=[0])
    monkeypatch.undo()
    monkeypatch.chdir(tiny.root)
    image.write_bytes(content)
    progress = RecordedProgress()
    experiment.train(config, tiny, only=[0], progress=progress)
    assert "fold 0 resumes after epoch 2/5" in progress


def in_namespace(script: str, *arguments: str) -> subprocess.CompletedProcess:
    """Run a shell script in its own mount namespace; skip the test if this is not permitted."""
    command = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"]), "sh", "-c"]
    if shutil.which("unshare") is None or subprocess.run([*command, "true"], capture_output=True).returncode:
        pytest.skip("this machine does not let the test mount a file system of its own")
    return subprocess.run([*command, script, "sh", *arguments], capture_output=True, text=True)


FULL = """
mkdir -p "$1/runs" && mount -t tmpfs -o size=220k tmpfs "$1/runs" || exit 77
"$2" -m kit train "$3" --workspace "$1" --fold 0; echo "first $?" >&2
ls -A "$1/runs/tiny/tiny-cnn/fold-0" >&2
mount -o remount,size=50m "$1/runs"
"$2" -m kit train "$3" --workspace "$1" --fold 0; echo "second $?" >&2
"""


@pytest.mark.slow
def test_a_full_disk_is_one_message_and_training_resumes_with_free_space(tiny):
    config = write_config(tiny, model__options={"widths": [16, 32]}, train__average="ema")
    done = in_namespace(FULL, str(tiny.root), sys.executable, str(config))
    if done.returncode == 77:
        pytest.skip("this machine does not let the test mount a small file system")
    stderr = " ".join(done.stderr.split())
    assert "first 1" in stderr, done.stderr
    assert "Traceback" not in stderr
    assert ".tmp" not in stderr.split("first 1")[1].split("second")[0]
    assert "second 0" in stderr, done.stderr


READ_ONLY = """
mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" || exit 77
"$2" -m kit train "$3" --workspace "$1" --fold 0; echo "ended $?" >&2
"""


@pytest.mark.slow
def test_a_read_only_folder_is_one_message(tiny):
    done = in_namespace(READ_ONLY, str(tiny.root), sys.executable, str(write_config(tiny)))
    if done.returncode == 77:
        pytest.skip("this machine does not let the test mount a folder read-only")
    assert "ended 1" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    assert "read-only file system" in done.stderr.lower()


# --- starting from another experiment


def test_each_fold_starts_from_the_same_fold_of_another_experiment(copy):
    config = load_config(copy.config("a"), ["name=second", "model.start=tiny/a", "train.epochs=1"])
    progress = RecordedProgress()
    run = experiment.train(config, copy, progress=progress)
    assert "starts from tiny/a, fold 0" in progress
    first = pd.read_csv(run.fold(0).history)["loss"][0]
    scratch = pd.read_csv(copy.run("tiny", "a").fold(0).history)["loss"][0]
    assert first < scratch
    assert run_state.fold_scores(run)[1] == 2


def test_starting_from_a_model_trained_on_validation_rows_is_refused(copy):
    pipeline.folds(load_config(copy.config("a"), ["folds.seed=1"]), workspace=copy, force=True)
    config = load_config(copy.config("a"), ["name=second", "model.start=tiny/a", "folds.seed=1"])
    with raises_kit_error("folds_differ", where="model.start"):
        experiment.train(config, copy)
    assert not copy.run("tiny", "second").fold(0).done.exists()


def test_starting_from_a_missing_fold_or_experiment_is_refused(copy):
    shutil.rmtree(copy.run("tiny", "a").fold(1).path)
    for start, code, fact in (
        ("tiny/a", "folds_untrained", "fold 1 of tiny/a"),
        ("tiny/c", "run_not_found", "tiny/c"),
    ):
        config = load_config(copy.config("a"), ["name=second", f"model.start={start}"])
        with raises_kit_error(code) as caught:
            experiment.train(config, copy)
        assert fact in str(caught.value)


# --- dry run


@pytest.mark.slow
def test_a_dry_run_describes_the_training_and_writes_no_run(tiny):
    config = write_config(tiny, model__trains={1: "head", 2: "all"}, train__head_lr=0.05, augment__mixup=0.2)
    process = kit(tiny, "train", str(config), "--dry-run", "--json")
    out, stderr = process.communicate()
    assert process.returncode == 0, stderr
    described = json.loads(out)
    assert described["rates"]["peak"] == pytest.approx(0.01)
    assert {group["part"] for group in described["groups"]} >= {"head"}
    assert {round(group["lr"], 4) for group in described["groups"]} == {0.01, 0.05}
    assert sum(g["parameters"] for g in described["groups"]) == 4395
    assert described["facts"]["trains"] == "the head from epoch 1, all from epoch 2"
    assert any(step.startswith("RandomResizedCrop") for step in described["augmentation"])
    assert any(step.startswith("mixup(alpha=0.2)") for step in described["augmentation"])
    assert not tiny.run("tiny", "tiny-cnn").path.exists()
    assert not tiny.folds("tiny").exists()


def test_a_schedule_and_freezing_that_do_not_fit_the_epochs_give_warnings(tiny):
    progress = RecordedProgress()
    overrides = ["train.schedule={name: step, every: 30}", "train.epochs=2", "model.trains={1: head, 5: all}"]
    experiment.train(load_config(write_config(tiny), overrides), tiny, only=[0], progress=progress)
    assert "model.trains changes in epoch 5, but training has only 2 epochs" in progress
    assert any("30" in line and "2" in line and "epochs" in line for line in progress.lines)

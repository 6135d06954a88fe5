"""kit bench: what it measures, on which data, and its advice. No test depends on the speed of the machine."""

import json
import mmap
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from kit.bench import measure, pace
from kit.bench.disk import reading_rate
from kit.bench.inference import Inference, infer
from kit.bench.measure import Bench, BenchOptions, Ceilings, Memory, bench
from kit.bench.pace import Effort, Pace, PeakMemory, Stopwatch
from kit.bench.rig import Place, Rig, Scratch
from kit.bench.settings import Baseline, Setting, Trial, advice, settings_to_try
from kit.competition.images import decode
from kit.config.load import load_config
from kit.engine.data import image_store
from kit.engine.fit.train_step import TrainStep
from kit.runtime.progress import SILENT, Silent
from kit.storage.workspace import RunFolder, Workspace
from kit.training.data import prepare
from tests.conftest import draw_class_folders, raises_kit_error, run_kit, run_kit_json, write_config

CPU = torch.device("cpu")
BATCH = SimpleNamespace(indices=[0, 1, 2, 3])


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Workspace:
    """A workspace with the tiny competition and the config of an experiment that was never run."""
    root = tmp_path_factory.mktemp("bench")
    draw_class_folders(root / "data" / "tiny")
    workspace = Workspace.open(root)
    write_config(workspace)
    return workspace


@pytest.fixture(autouse=True)
def one_step_suffices(monkeypatch):
    """Remove the minimum duration of a measurement, so that few steps suffice."""
    monkeypatch.setattr(measure, "SECONDS", {"cpu": 0.0, "cuda": 0.0})


def bench_config(workspace: Workspace, *overrides: str):
    return load_config(workspace.config("tiny-cnn"), list(overrides))


@pytest.fixture
def rig(workspace, tmp_path) -> Rig:
    """The rig of the tiny experiment with six images."""
    return make_rig(workspace, tmp_path)


def make_rig(workspace, tmp_path, *overrides: str) -> Rig:
    config = bench_config(workspace, *overrides)
    scratch = Scratch(workspace.root, workspace.data_roots, workspace.weights_roots, tmp_path)
    data = prepare(config, workspace, write_folds=False)
    return Rig(config, Place(scratch, data, RunFolder(tmp_path / "run" / "a"), 6, SILENT))


@pytest.fixture
def decoded_files(monkeypatch) -> list[str]:
    """The list of decoded files, in order."""
    names, original = [], decode.decode
    monkeypatch.setattr(image_store, "decode", lambda path, *a: names.append(str(path)) or original(path, *a))
    return names


# --- pace


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test sets."""
    now = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(pace.time, "perf_counter", lambda: now.seconds)
    return now


def pace_of_steps(clock, effort: Effort, durations: list[float], **options) -> Pace:
    """Return the pace of steps of these durations in seconds."""
    watch = Stopwatch(CPU, effort, True, SILENT, **options)
    for _, seconds in zip(watch.track([BATCH] * len(durations), len(durations), ""), durations, strict=False):
        clock.seconds += seconds
    return watch.pace


def test_steps_count_after_the_warmup_until_enough_are_measured(clock):
    assert pace_of_steps(clock, Effort(2, 3), [9, 9, 1, 2, 3, 9, 9]).seconds == [1, 2, 3]
    assert pace_of_steps(clock, Effort(1, 2, seconds=6), [9, 1, 2, 3, 9]).seconds == [1, 2, 3]
    assert pace_of_steps(clock, Effort(1, 9, enough=4), [9, 1, 3, 1, 1]).seconds == [1, 3]
    assert pace_of_steps(clock, Effort(0, 9, enough=1), [2, 3, 9]).seconds == [2, 3]


def test_half_of_few_batches_count(clock):
    assert pace_of_steps(clock, Effort(9, 9), [5, 5, 1, 2]).seconds == [1, 2]
    assert pace_of_steps(clock, Effort(9, 9), [5]).seconds == [5]


def test_a_batch_on_the_device_replaces_loaded_batches():
    watch = Stopwatch(CPU, Effort(1, 2), True, SILENT, instead=BATCH)
    never = (pytest.fail("loaded") for _ in range(9))
    assert list(watch.track(never, 9, "")) == [BATCH] * 3
    assert watch.pace.images == [4, 4]


def test_the_rate_is_that_of_the_median_step_or_of_all_steps_together():
    steps = {"images": [4, 4, 2], "seconds": [1.0, 9.0, 0.5]}
    assert Pace(True, **steps).rate == 4
    assert Pace(False, **steps).rate == pytest.approx(10 / 10.5)
    assert (Pace(True, [4], [1.0]) + Pace(True, [2], [2.0])).images == [4, 2]


def test_peak_memory_includes_memory_outside_torch():
    with PeakMemory() as before:
        pass
    with PeakMemory() as peak:
        held = mmap.mmap(
            -1, 100_000_000, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        )  # outside the allocator of torch
        for _ in range(100):
            held.write(bytes(1_000_000))
    held.close()
    if sys.platform == "linux":
        assert 80 < peak.mb - before.mb < 130


# --- the parts of a training run


def test_images_are_decoded_once_and_then_cached(rig, decoded_files):
    assert sum(rig.uncached().images) == 6
    assert sorted(decoded_files) == sorted(str(rig.store.root / p.path) for p in rig.pictures)
    rig.data(Effort(0, 3))
    rig.pipeline(Effort(0, 3))
    assert len(decoded_files) == 6


def test_without_a_cache_images_are_decoded_each_time(workspace, tmp_path, decoded_files):
    rig = make_rig(workspace, tmp_path, "image.cache=none")
    rig.data(Effort(0, 3))
    assert 2 * 6 < len(decoded_files) <= 3 * 6  # six images, decoded once per batch


def test_the_step_measurement_decodes_nothing_and_the_pipeline_loads_and_trains(
    rig, decoded_files, monkeypatch
):
    steps, original = [], TrainStep.__call__
    monkeypatch.setattr(
        TrainStep, "__call__", lambda self, *batch: steps.append(len(batch[0])) or original(self, *batch)
    )
    assert rig.resident.images.shape == (8, 3, 16, 16)
    decoded_files.clear()
    assert rig.step(Effort(1, 3)).images == steps[1:] == [8, 8, 8]
    assert decoded_files == []
    rig.pipeline(Effort(1, 3))
    assert steps == [8] * 8


def test_every_measurement_uses_the_same_images_and_augmentations(rig, monkeypatch):
    seen, original = [], TrainStep.__call__
    monkeypatch.setattr(
        TrainStep, "__call__", lambda self, *batch: seen.append(batch[0].clone()) or original(self, *batch)
    )
    rig.pipeline(Effort(0, 2))
    rig.pipeline(Effort(0, 2))
    assert torch.equal(seen[0], seen[2])
    assert torch.equal(seen[1], seen[3])
    assert not torch.equal(seen[0], seen[1])


def test_the_image_size_is_that_of_the_last_epoch(workspace, tmp_path):
    rig = make_rig(workspace, tmp_path, "image.size_by_epoch={1: 16, 3: 24}")
    assert rig.resident.images.shape[-1] == 24
    images = []
    rig.trainer.components.train_step.model.register_forward_pre_hook(
        lambda _, inputs: images.append(inputs[0].shape)
    )
    rig.pipeline(Effort(0, 2))
    assert images[0][-1] == 24


def test_the_prediction_pipeline_decodes_every_image_once(workspace, tmp_path, decoded_files):
    rig = make_rig(workspace, tmp_path, "predict.batch_size=2")
    found = infer(rig, Effort(0, 9))
    assert len(decoded_files) == 2 + 6  # one batch for the model alone, and three batches of the pipeline
    assert len(set(decoded_files)) == 6
    assert found.ratio == found.pipeline / found.step


def test_the_disk_measurement_reads_cached_pixels_or_image_files(rig, monkeypatch):
    read, original = [], Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda file: read.append(file) or original(file))
    assert reading_rate(rig.store, rig.pictures) > 0
    assert read == [rig.store.root / picture.path for picture in rig.pictures]
    rig.uncached()
    assert reading_rate(rig.store, rig.pictures) > 0
    assert len(read) == 6
    assert all(rig.store.cache.read(picture) is not None for picture in rig.pictures)


def test_the_disk_measurement_reads_files_of_images_that_are_not_cached(rig, monkeypatch):
    rig.uncached()
    uncached, read = rig.pictures[2:], []
    read_cached, original = rig.store.cache.read, Path.read_bytes
    monkeypatch.setattr(rig.store.cache, "read", lambda p: None if p in uncached else read_cached(p))
    monkeypatch.setattr(Path, "read_bytes", lambda file: read.append(file) or original(file))
    assert reading_rate(rig.store, rig.pictures) > 0
    assert read == [rig.store.root / picture.path for picture in uncached]


# --- a whole bench


@pytest.fixture(scope="module")
def found(workspace) -> Bench:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "SECONDS", {"cpu": 0.0, "cuda": 0.0})
        return bench(bench_config(workspace, "train.batch_size=4"), workspace, BenchOptions(steps=2))


def test_a_bench_has_all_measurements(found):
    values = found.as_dict()
    assert set(values["ceilings"]) == {"data", "step", "disk"}
    assert values["lowest"] == min(values["ceilings"], key=values["ceilings"].get)
    assert values["ratio"] == values["pipeline"] / values["ceilings"][values["lowest"]]
    assert values["peak_memory_mb"]["host"] > 50
    assert values["peak_memory_mb"]["device"] is None
    predict = values["predict"]
    assert predict["ratio"] == predict["pipeline"] / predict["step"]
    assert [row["set"] for row in values["settings"]] == [
        "train.workers=1",
        "image.cache=none",
        "train.precision=bf16",
        "train.batch_size=8",
        "train.batch_size=2",
    ]
    assert all(row["ratio"] > 0 and row["pipeline"] > 0 for row in values["settings"])
    assert (predict["views"], predict["size"]) == (1, 16)
    assert json.dumps(values)


def test_a_bench_leaves_no_run_and_no_folds(found, workspace):
    assert not workspace.folds("tiny").exists()
    assert sorted(path.name for path in (workspace.root / "runs").rglob("*")) == [
        ".cache",
        "images.parquet",
        "tiny",
    ]


def test_the_lowest_ceiling_includes_the_disk_only_if_measured():
    assert Ceilings(30.0, 20.0, 10.0).lowest == "disk"
    assert Ceilings(30.0, 20.0, None).lowest == "step"
    assert Ceilings(10.0, 20.0, None).lowest == "data"


class RecordedMessages(Silent):
    def __init__(self) -> None:
        self.notes, self.warnings = [], []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def limit_batch_size(monkeypatch, most: int) -> None:
    """Raise MemoryError if the model gets more than ``most`` images at once."""
    original = torch.nn.Module.__call__

    def limited_call(self, *inputs, **options):
        if type(self).__name__ == "Classifier" and len(inputs[0]) > most:
            raise MemoryError
        return original(self, *inputs, **options)

    monkeypatch.setattr(torch.nn.Module, "__call__", limited_call)


def test_a_setting_that_runs_out_of_memory_is_reported_in_its_row(workspace, monkeypatch):
    limit_batch_size(monkeypatch, 4)
    sizes = [Setting("train.batch_size", 8), Setting("train.batch_size", 2)]
    monkeypatch.setattr(measure, "settings_to_try", lambda *_: sizes)
    larger, smaller = bench(
        bench_config(workspace, "train.batch_size=4", "predict.batch_size=4"),
        workspace,
        BenchOptions(steps=2),
    ).trials
    assert larger.as_dict() == {
        "set": "train.batch_size=8",
        "pipeline": None,
        "ratio": None,
        "problem": "out of memory",
    }
    assert smaller.rate


def test_a_config_that_runs_out_of_memory_is_measured_with_smaller_micro_batches(workspace, monkeypatch):
    limit_batch_size(monkeypatch, 4)
    messages = RecordedMessages()
    config = bench_config(workspace, "predict.batch_size=4")
    found = bench(config, workspace, BenchOptions(steps=2, settings=False), messages)
    [warning] = messages.warnings
    assert re.findall(r"\d+", warning) == ["8", "4"]
    assert found.facts["step"] == "8 images, micro-batches of 4"
    assert found.advice == []


def test_predicting_is_measured_with_a_batch_size_that_fits(workspace, monkeypatch):
    limit_batch_size(monkeypatch, 4)
    messages = RecordedMessages()
    bench(
        bench_config(workspace, "train.batch_size=4"),
        workspace,
        BenchOptions(steps=2, settings=False),
        messages,
    )
    [warning] = messages.warnings
    assert re.findall(r"\d+", warning) == ["8", "4"]


def test_settings_are_measured_with_a_micro_batch_size_that_fits(workspace, monkeypatch):
    limit_batch_size(monkeypatch, 4)
    tried = [Setting("image.cache", "none"), Setting("train.precision", "fp32")]
    monkeypatch.setattr(measure, "settings_to_try", lambda *_: tried)
    cache, precision = bench(
        bench_config(workspace, "predict.batch_size=4"), workspace, BenchOptions(steps=2)
    ).trials
    assert cache.rate
    assert precision.problem == "out of memory"  # fp32 may fit with another micro-batch size


@pytest.mark.parametrize(
    ("mistake", "code", "where"),
    [
        ("model.trains={1: 50}", "too_many_stages", "model.trains"),
        ("predict.merge=meann", "unknown_name", "predict.merge"),
    ],
)
def test_configs_that_cannot_be_trained_are_refused_before_measuring(
    workspace, monkeypatch, mistake, code, where
):
    monkeypatch.setattr(measure, "prepare", lambda *_, **__: pytest.fail("images were read"))
    with raises_kit_error(code, where):
        bench(bench_config(workspace, mistake), workspace)


def test_training_the_head_only_is_measured_through_the_network(workspace):
    messages = RecordedMessages()
    bench(
        bench_config(workspace, "model.trains=head"),
        workspace,
        BenchOptions(steps=2, settings=False),
        messages,
    )
    assert any("augment.views=null" in note for note in messages.notes)


# --- settings and advice


CPU_BASELINE, GPU_BASELINE = Baseline("cpu", 2, 0, "fp32", 100), Baseline("cuda", 16, 8, "bf16", 100)


def texts_of_settings(config, baseline: Baseline, compiling: bool = False) -> list[str]:
    return [setting.text for setting in settings_to_try(config, baseline, compiling)]


def test_settings_to_try_have_few_workers_on_cpu_and_more_workers_and_precisions_on_gpu(workspace):
    assert texts_of_settings(bench_config(workspace), CPU_BASELINE)[0] == "train.workers=1"
    assert texts_of_settings(bench_config(workspace), replace(CPU_BASELINE, workers=4))[:2] == [
        "train.workers=0",
        "train.workers=1",
    ]
    gpu = texts_of_settings(bench_config(workspace, "image.cache=none"), GPU_BASELINE, compiling=True)
    assert gpu == [
        "train.workers=4",
        "train.workers=16",
        "image.cache=auto",
        "train.precision=fp32",
        "train.precision=fp16",
        "train.batch_size=16",
        "train.batch_size=4",
        "train.compile=true",
    ]


def test_settings_to_try_skip_unsuitable_batch_sizes_and_compile_if_already_set(workspace):
    few = texts_of_settings(bench_config(workspace, "train.batch_size=2"), replace(CPU_BASELINE, images=3))
    assert not any("batch_size" in text for text in few)
    assert "train.compile=true" not in texts_of_settings(
        bench_config(workspace, "train.compile=true"), GPU_BASELINE, compiling=True
    )


def test_a_setting_changes_only_its_key(workspace):
    config = bench_config(workspace)
    changed = Setting("train.workers", 3).of(config)
    assert changed.train.workers == 3
    assert changed.model_copy(update={"train": config.train}) == config


def trial(key: str, gain: float | None, changes: str = "") -> Trial:
    return Trial(Setting(key, 1, changes), gain and 100 * gain, gain)


def test_advice_lists_gains_beyond_noise_with_the_best_first():
    sentences = advice(
        [trial("a.b", 1.1), trial("c.d", 1.05), trial("e.f", None), trial("g.h", 1.3, "scores")], 1
    )
    assert sentences == [
        "--set g.h=1 trains 1.30 times as fast (scores).",
        "--set a.b=1 trains 1.10 times as fast.",
    ]
    [sentence] = advice([trial("a.b", 1.04)], 1)
    assert "a.b" not in sentence


def test_advice_warns_of_drift_on_a_busy_machine():
    _, warning = advice([trial("a.b", 1.2)], 1.5)
    assert "1.5 times" in warning
    assert len(advice([trial("a.b", 1.2)], 1.15)) == 1


def test_no_setting_is_measured_after_the_time_limit(workspace, monkeypatch):
    monkeypatch.setattr(measure, "TRIAL_SECONDS", -1)
    trials = bench(bench_config(workspace), workspace, BenchOptions(steps=2)).trials
    assert len(trials) > 3
    assert {trial.problem for trial in trials} == {"not tried: the others took longer than 90 s"}


@pytest.mark.parametrize(
    ("rates", "gain", "drift"),
    [
        ([100.0, 150.0, 100.0, 150.0, 100.0], 1.5, 1.0),  # faster both times
        ([100.0, 150.0, 150.0, 150.0, 150.0], 1.0, 1.5),  # the machine became faster
        ([100.0, 90.0, 100.0], 0.9, 1.0),
        ([100.0, "out of memory", 100.0], None, 1.0),
    ],
)
def test_a_faster_setting_is_measured_again_together_with_the_config(
    workspace, monkeypatch, rates, gain, drift
):
    first, *remaining = rates
    setting = Setting("train.workers", 1)
    monkeypatch.setattr(measure, "settings_to_try", lambda *_: [setting])
    measuring = measure._Measurement(
        bench_config(workspace), SimpleNamespace(progress=SILENT), BenchOptions(), CPU
    )
    monkeypatch.setattr(measuring, "_try", lambda *_: remaining.pop(0))
    trials, measured_drift = measuring._trials(CPU_BASELINE, Pace(True, [100], [100 / first]), 8)
    assert trials[0].gain == (gain and pytest.approx(gain))
    assert measured_drift == pytest.approx(drift)
    assert remaining == []


# --- the command


def test_the_command_prints_tables_or_json(workspace, monkeypatch):
    rows = [trial("train.workers", 1.5), replace(trial("train.batch_size", None), problem="out of memory")]
    values = {"experiment": "tiny/a", "facts": {"device": "cpu"}, "memory": Memory(512.0, None), "drift": 1.0}
    result = Bench(
        ceilings=Ceilings(400.0, 20.0, None),
        uncached=200.0,
        pipeline=19.0,
        inference=Inference(90.0, 100.0, 2, 256),
        trials=rows,
        **values,
    )
    options = []
    monkeypatch.setattr(measure, "bench", lambda *inputs: options.append(inputs[2]) or result)
    command = ["bench", str(workspace.config("tiny-cnn")), "--workspace", str(workspace.root)]
    done = run_kit(*command, "--steps", "4", "--no-settings", "--compile")
    assert options == [BenchOptions(4, False, True)]
    for text in ("512 MB on the host", "0.95 x the slowest (training step only)", "200 in the first epoch"):
        assert text in done.stdout
    for text in (
        "2 views per image, up to 256 px",
        "out of memory",
        "--set train.workers=1 trains 1.50 times",
    ):
        assert text in done.stdout
    printed = run_kit_json(*command)
    assert printed == json.loads(json.dumps(result.as_dict()))
    assert printed["ceilings"] == {"data": 400.0, "step": 20.0, "disk": None}

"""What kit bench measures, on what, and what it says of it; never how quick this machine is."""

import json
import mmap
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from typer.testing import CliRunner

from kit.bench import measure, pace
from kit.bench.disk import reading_rate
from kit.bench.inference import Inference, infer
from kit.bench.measure import Bench, BenchOptions, Ceilings, Memory, bench
from kit.bench.pace import Effort, Pace, PeakMemory, Stopwatch
from kit.bench.rig import Place, Rig, Scratch
from kit.bench.settings import Baseline, Setting, Trial, advice, settings_to_try
from kit.cli.main import app
from kit.competition import decode
from kit.config.load import load_config
from kit.engine.data import image_store
from kit.engine.fit.train_step import TrainStep
from kit.runtime.progress import SILENT, Silent
from kit.storage.workspace import RunFolder, Workspace
from kit.training.data import prepare
from tests.conftest import draw_class_folders, raises_kit_error, write_config

CPU = torch.device("cpu")
BATCH = SimpleNamespace(indices=[0, 1, 2, 3])


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Workspace:
    """A workspace with the tiny competition and the tiny experiment, in which nothing was done."""
    root = tmp_path_factory.mktemp("bench")
    draw_class_folders(root / "data" / "tiny")
    workspace = Workspace.open(root)
    write_config(workspace)
    return workspace


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Measure steps, not seconds."""
    monkeypatch.setattr(measure, "SECONDS", {"cpu": 0.0, "cuda": 0.0})


def tiny(place: Workspace, *overrides: str):
    return load_config(place.config("tiny-cnn"), list(overrides))


@pytest.fixture
def rig(place, tmp_path) -> Rig:
    """The tiny experiment, on six images."""
    return rig_of(place, tmp_path)


def rig_of(place, tmp_path, *overrides: str) -> Rig:
    config = tiny(place, *overrides)
    scratch = Scratch(place.root, place.data_roots, place.weights_roots, tmp_path)
    data = prepare(config, place, write_folds=False)
    return Rig(config, Place(scratch, data, RunFolder(tmp_path / "run" / "a"), 6, SILENT))


@pytest.fixture
def decoded(monkeypatch) -> list[str]:
    """Which files were decoded, in order."""
    names, plain = [], decode.decode
    monkeypatch.setattr(image_store, "decode", lambda path, *a: names.append(str(path)) or plain(path, *a))
    return names


# --- pace


@pytest.fixture
def clock(monkeypatch):
    """A clock that is set by hand."""
    now = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(pace.time, "perf_counter", lambda: now.seconds)
    return now


def taken(clock, effort: Effort, lasting: list[float], **options) -> Pace:
    """Return the pace of steps that last so long."""
    watch = Stopwatch(CPU, effort, True, SILENT, **options)
    for _, seconds in zip(watch.track([BATCH] * len(lasting), len(lasting), ""), lasting, strict=False):
        clock.seconds += seconds
    return watch.pace


def test_steps_count_from_the_end_of_the_warmup_until_there_are_enough(clock):
    assert taken(clock, Effort(2, 3), [9, 9, 1, 2, 3, 9, 9]).seconds == [1, 2, 3]
    assert taken(clock, Effort(1, 2, seconds=6), [9, 1, 2, 3, 9]).seconds == [1, 2, 3]
    assert taken(clock, Effort(1, 9, enough=4), [9, 1, 3, 1, 1]).seconds == [1, 3]
    assert taken(clock, Effort(0, 9, enough=1), [2, 3, 9]).seconds == [2, 3]


def test_where_there_are_few_batches_half_of_them_count(clock):
    assert taken(clock, Effort(9, 9), [5, 5, 1, 2]).seconds == [1, 2]
    assert taken(clock, Effort(9, 9), [5]).seconds == [5]


def test_a_batch_on_the_device_stands_for_all_that_would_be_loaded():
    watch = Stopwatch(CPU, Effort(1, 2), True, SILENT, instead=BATCH)
    never = (pytest.fail("loaded") for _ in range(9))
    assert list(watch.track(never, 9, "")) == [BATCH] * 3
    assert watch.pace.images == [4, 4]


def test_the_rate_is_that_of_the_median_step_or_of_all_where_something_goes_on_beside_them():
    steps = {"images": [4, 4, 2], "seconds": [1.0, 9.0, 0.5]}
    assert Pace(True, **steps).rate == 4
    assert Pace(False, **steps).rate == pytest.approx(10 / 10.5)
    assert (Pace(True, [4], [1.0]) + Pace(True, [2], [2.0])).images == [4, 2]


def test_the_peak_of_memory_is_what_was_held_meanwhile():
    with PeakMemory() as before:
        pass
    with PeakMemory() as peak:
        held = mmap.mmap(-1, 100_000_000, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)  # not torch's pages
        for _ in range(100):
            held.write(bytes(1_000_000))
    held.close()
    if sys.platform == "linux":
        assert 80 < peak.mb - before.mb < 130


# --- a config put together


def test_images_are_decoded_once_and_then_cached(rig, decoded):
    assert sum(rig.uncached().images) == 6
    assert sorted(decoded) == sorted(str(rig.store.root / p.path) for p in rig.pictures)
    rig.data(Effort(0, 3))
    rig.pipeline(Effort(0, 3))
    assert len(decoded) == 6


def test_without_a_cache_every_look_decodes(place, tmp_path, decoded):
    rig = rig_of(place, tmp_path, "image.cache=none")
    rig.data(Effort(0, 3))
    assert 2 * 6 < len(decoded) <= 3 * 6  # six images, each once for a batch


def test_a_step_trains_and_loads_nothing_and_the_pipeline_does_both(rig, decoded, monkeypatch):
    steps, plain = [], TrainStep.__call__
    monkeypatch.setattr(
        TrainStep, "__call__", lambda self, *batch: steps.append(len(batch[0])) or plain(self, *batch)
    )
    assert rig.resident.images.shape == (8, 3, 16, 16)
    decoded.clear()
    assert rig.step(Effort(1, 3)).images == steps[1:] == [8, 8, 8]
    assert decoded == []
    rig.pipeline(Effort(1, 3))
    assert steps == [8] * 8


def test_every_measurement_meets_the_same_images_varied_the_same_way(rig, monkeypatch):
    seen, plain = [], TrainStep.__call__
    monkeypatch.setattr(
        TrainStep, "__call__", lambda self, *batch: seen.append(batch[0].clone()) or plain(self, *batch)
    )
    rig.pipeline(Effort(0, 2))
    rig.pipeline(Effort(0, 2))
    assert torch.equal(seen[0], seen[2])
    assert torch.equal(seen[1], seen[3])
    assert not torch.equal(seen[0], seen[1])


def test_it_is_measured_as_in_the_last_epoch(place, tmp_path):
    rig = rig_of(place, tmp_path, "image.size_by_epoch={1: 16, 3: 24}")
    assert rig.resident.images.shape[-1] == 24
    images = []
    rig.trainer.components.train_step.model.register_forward_pre_hook(
        lambda _, given: images.append(given[0].shape)
    )
    rig.pipeline(Effort(0, 2))
    assert images[0][-1] == 24


def test_predicting_decodes_every_image_and_the_model_alone_none(place, tmp_path, decoded):
    rig = rig_of(place, tmp_path, "predict.batch_size=2")
    found = infer(rig, Effort(0, 9))
    assert len(decoded) == 2 + 6  # a batch for the model alone, and three with decoding
    assert len(set(decoded)) == 6
    assert found.ratio == found.pipeline / found.step


def test_the_disk_gives_kept_pixels_or_else_files(rig, monkeypatch):
    read, plain = [], Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda file: read.append(file) or plain(file))
    assert reading_rate(rig.store, rig.pictures) > 0
    assert read == [rig.store.root / picture.path for picture in rig.pictures]
    rig.uncached()
    assert reading_rate(rig.store, rig.pictures) > 0
    assert len(read) == 6
    assert all(rig.store.cache.read(picture) is not None for picture in rig.pictures)


def test_where_some_images_are_kept_the_disk_gives_the_files_of_the_others(rig, monkeypatch):
    rig.uncached()
    others, read = rig.pictures[2:], []
    kept, plain = rig.store.cache.read, Path.read_bytes
    monkeypatch.setattr(rig.store.cache, "read", lambda p: None if p in others else kept(p))
    monkeypatch.setattr(Path, "read_bytes", lambda file: read.append(file) or plain(file))
    assert reading_rate(rig.store, rig.pictures) > 0
    assert read == [rig.store.root / picture.path for picture in others]


# --- all of it


@pytest.fixture(scope="module")
def found(place) -> Bench:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "SECONDS", {"cpu": 0.0, "cuda": 0.0})
        return bench(tiny(place, "train.batch_size=4"), place, BenchOptions(steps=2))


def test_everything_is_measured(found):
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


def test_nothing_is_left(found, place):
    assert not place.folds("tiny").exists()
    assert sorted(path.name for path in (place.root / "runs").rglob("*")) == [
        ".cache",
        "images.parquet",
        "tiny",
    ]


def test_the_lowest_ceiling_counts_and_the_disk_only_where_it_is_known():
    assert Ceilings(30.0, 20.0, 10.0).lowest == "disk"
    assert Ceilings(30.0, 20.0, None).lowest == "step"
    assert Ceilings(10.0, 20.0, None).lowest == "data"


class Told(Silent):
    def __init__(self) -> None:
        self.notes, self.warnings = [], []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def short_of_memory(monkeypatch, most: int) -> None:
    """Let no more than so many images go through the model at once."""
    plain = torch.nn.Module.__call__

    def narrow(self, *given, **options):
        if type(self).__name__ == "Classifier" and len(given[0]) > most:
            raise MemoryError
        return plain(self, *given, **options)

    monkeypatch.setattr(torch.nn.Module, "__call__", narrow)


def test_a_setting_that_does_not_fit_the_memory_is_a_row_that_says_so(place, monkeypatch):
    short_of_memory(monkeypatch, 4)
    sizes = [Setting("train.batch_size", 8), Setting("train.batch_size", 2)]
    monkeypatch.setattr(measure, "settings_to_try", lambda *_: sizes)
    larger, smaller = bench(
        tiny(place, "train.batch_size=4", "predict.batch_size=4"), place, BenchOptions(steps=2)
    ).trials
    assert larger.as_dict() == {
        "set": "train.batch_size=8",
        "pipeline": None,
        "ratio": None,
        "problem": "out of memory",
    }
    assert smaller.rate


def test_where_the_config_itself_does_not_fit_it_is_measured_as_it_would_train(place, monkeypatch):
    short_of_memory(monkeypatch, 4)
    told = Told()
    config = tiny(place, "predict.batch_size=4")
    found = bench(config, place, BenchOptions(steps=2, settings=False), told)
    [warning] = told.warnings
    assert re.findall(r"\d+", warning) == ["8", "4"]
    assert found.facts["step"] == "8 images, micro-batches of 4"
    assert found.advice == []


def test_predicting_is_measured_with_as_many_images_at_once_as_fit(place, monkeypatch):
    short_of_memory(monkeypatch, 4)
    told = Told()
    bench(tiny(place, "train.batch_size=4"), place, BenchOptions(steps=2, settings=False), told)
    [warning] = told.warnings
    assert re.findall(r"\d+", warning) == ["8", "4"]


def test_settings_are_tried_with_as_many_images_at_once_as_fit(place, monkeypatch):
    short_of_memory(monkeypatch, 4)
    tried = [Setting("image.cache", "none"), Setting("train.precision", "fp32")]
    monkeypatch.setattr(measure, "settings_to_try", lambda *_: tried)
    cache, precision = bench(tiny(place, "predict.batch_size=4"), place, BenchOptions(steps=2)).trials
    assert cache.rate
    assert precision.problem == "out of memory"  # who trains with it may find room for more


@pytest.mark.parametrize(
    ("mistake", "code", "where"),
    [
        ("model.trains={1: 50}", "too_many_stages", "model.trains"),
        ("predict.merge=meann", "unknown_name", "predict.merge"),
    ],
)
def test_configs_that_cannot_be_trained_are_refused_before_measuring(
    place, monkeypatch, mistake, code, where
):
    monkeypatch.setattr(measure, "prepare", lambda *_, **__: pytest.fail("images were read"))
    with raises_kit_error(code, where):
        bench(tiny(place, mistake), place)


def test_a_head_alone_is_measured_through_the_network(place):
    told = Told()
    bench(tiny(place, "model.trains=head"), place, BenchOptions(steps=2, settings=False), told)
    assert any("augment.views=null" in note for note in told.notes)


# --- settings and advice


CPU_OWN, GPU_OWN = Baseline("cpu", 2, 0, "fp32", 100), Baseline("cuda", 16, 8, "bf16", 100)


def tried(config, own: Baseline, compiling: bool = False) -> list[str]:
    return [setting.text for setting in settings_to_try(config, own, compiling)]


def test_on_a_cpu_few_processes_are_tried_and_on_a_gpu_many_and_its_formats(place):
    assert tried(tiny(place), CPU_OWN)[0] == "train.workers=1"
    assert tried(tiny(place), replace(CPU_OWN, workers=4))[:2] == ["train.workers=0", "train.workers=1"]
    gpu = tried(tiny(place, "image.cache=none"), GPU_OWN, compiling=True)
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


def test_no_batch_is_larger_than_the_fold_or_too_small_and_nothing_is_compiled_twice(place):
    few = tried(tiny(place, "train.batch_size=2"), replace(CPU_OWN, images=3))
    assert not any("batch_size" in text for text in few)
    assert "train.compile=true" not in tried(tiny(place, "train.compile=true"), GPU_OWN, compiling=True)


def test_a_setting_changes_its_key_alone(place):
    config = tiny(place)
    changed = Setting("train.workers", 3).of(config)
    assert changed.train.workers == 3
    assert changed.model_copy(update={"train": config.train}) == config


def trial(key: str, gain: float | None, changes: str = "") -> Trial:
    return Trial(Setting(key, 1, changes), gain and 100 * gain, gain)


def test_what_gains_more_than_chance_is_advised_the_best_first():
    said = advice([trial("a.b", 1.1), trial("c.d", 1.05), trial("e.f", None), trial("g.h", 1.3, "scores")], 1)
    assert said == [
        "--set g.h=1 trains 1.30 times as fast (scores).",
        "--set a.b=1 trains 1.10 times as fast.",
    ]
    [sentence] = advice([trial("a.b", 1.04)], 1)
    assert "a.b" not in sentence


def test_on_a_busy_machine_it_is_advised_to_measure_again():
    _, warning = advice([trial("a.b", 1.2)], 1.5)
    assert "1.5 times" in warning
    assert len(advice([trial("a.b", 1.2)], 1.15)) == 1


def test_no_setting_is_begun_when_the_time_for_them_is_over(place, monkeypatch):
    monkeypatch.setattr(measure, "TRIAL_SECONDS", -1)
    trials = bench(tiny(place), place, BenchOptions(steps=2)).trials
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
def test_a_faster_setting_is_measured_again_together_with_the_config(place, monkeypatch, rates, gain, drift):
    first, *others = rates
    setting = Setting("train.workers", 1)
    monkeypatch.setattr(measure, "settings_to_try", lambda *_: [setting])
    measuring = measure._Measurement(tiny(place), SimpleNamespace(progress=SILENT), BenchOptions(), CPU)
    monkeypatch.setattr(measuring, "_try", lambda *_: others.pop(0))
    trials, uneven = measuring._trials(CPU_OWN, Pace(True, [100], [100 / first]), 8)
    assert trials[0].gain == (gain and pytest.approx(gain))
    assert uneven == pytest.approx(drift)
    assert others == []


# --- the command


def test_the_command_prints_tables_or_json(place, monkeypatch):
    rows = [trial("train.workers", 1.5), replace(trial("train.batch_size", None), problem="out of memory")]
    values = {"experiment": "tiny/a", "facts": {"device": "cpu"}, "memory": Memory(512.0, None), "drift": 1.0}
    made = Bench(
        ceilings=Ceilings(400.0, 20.0, None),
        uncached=200.0,
        pipeline=19.0,
        inference=Inference(90.0, 100.0, 2, 256),
        trials=rows,
        **values,
    )
    asked = []
    monkeypatch.setattr(measure, "bench", lambda *given: asked.append(given[2]) or made)
    command = ["bench", str(place.config("tiny-cnn")), "--workspace", str(place.root)]
    done = CliRunner().invoke(app, [*command, "--steps", "4", "--no-settings", "--compile"])
    assert done.exit_code == 0, done.output
    assert asked == [BenchOptions(4, False, True)]
    for text in ("512 MB on the host", "0.95 x the slowest (training step only)", "200 in the first epoch"):
        assert text in done.stdout
    for text in (
        "2 views per image, up to 256 px",
        "out of memory",
        "--set train.workers=1 trains 1.50 times",
    ):
        assert text in done.stdout
    told = json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)
    assert told == json.loads(json.dumps(made.as_dict()))
    assert told["ceilings"] == {"data": 400.0, "step": 20.0, "disk": None}

"""Measure a config on this machine: data loading, training step, disk, whole pipeline, memory, settings."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.bench.disk import drop_file_pages, reading_rate
from kit.bench.inference import Inference, infer
from kit.bench.pace import Effort, Pace, PeakMemory
from kit.bench.rig import Place, Rig, Scratch
from kit.bench.settings import MIN_GAIN, Baseline, Setting, Trial, advice, faster, settings_to_try
from kit.config import Config
from kit.errors import KitError, counted
from kit.runtime.displayed import Displayed
from kit.runtime.progress import SILENT, Progress
from kit.storage.workspace import RunFolder, Workspace
from kit.training import feature_cache
from kit.training.data import prepare

if TYPE_CHECKING:
    import torch

ROUNDS = 2  # the parts alternate, so that other load on the machine affects all of them
WARMUP = 2
TRIAL_SHARE = 0.5  # of the steps, for trials of settings and prediction
MAX_IMAGES = {"cpu": 512, "cuda": 4096}
SECONDS = {"cpu": 0.5, "cuda": 2.0}  # minimum duration of each measurement
TRIAL_SECONDS = 90.0  # after that no further setting is tried
NOT_TRIED = f"not tried: the others took longer than {TRIAL_SECONDS:.0f} s"
ENOUGH_SECONDS = 10.0  # a measurement stops after that


@dataclass(frozen=True)
class BenchOptions:
    """What to measure.

    Attributes:
        steps: Number of steps per measurement.
        settings: Whether to try other settings.
        compiling: Whether to try ``torch.compile``; None: on a GPU only.
    """

    steps: int = 8
    settings: bool = True
    compiling: bool | None = None


@dataclass(frozen=True)
class Ceilings:
    """The speed of each part alone, in images per second.

    Attributes:
        data: Decoding (of images that are not cached) and augmentation.
        step: Training steps on a batch that is on the device.
        disk: Reading the files of an epoch; None if unknown.
    """

    data: float
    step: float
    disk: float | None

    @property
    def named(self) -> dict[str, float]:
        """The known ceilings, by name."""
        return {name: rate for name, rate in vars(self).items() if rate is not None}

    @property
    def lowest(self) -> str:
        """The name of the bottleneck."""
        return min(self.named, key=self.named.__getitem__)


@dataclass(frozen=True)
class Memory:
    """Peak memory of training, in MB; None: unknown."""

    host: float | None
    device: float | None


@dataclass(frozen=True)
class Bench(Displayed):
    """The measurements; rates are images per second.

    Attributes:
        facts: Device, model and data, in display order.
        uncached: Data loading without a cache.
        pipeline: Training as a whole.
        drift: Fastest rate of the config divided by its slowest, at least 1.
    """

    experiment: str
    facts: dict[str, str]
    ceilings: Ceilings
    uncached: float
    pipeline: float
    memory: Memory
    inference: Inference
    trials: list[Trial] = field(default_factory=list)
    drift: float = 1.0

    @property
    def ratio(self) -> float:
        """Rate of the pipeline divided by the lowest ceiling."""
        return self.pipeline / self.ceilings.named[self.ceilings.lowest]

    @property
    def advice(self) -> list[str]:
        """Settings that make training faster."""
        return advice(self.trials, self.drift) if self.trials else []

    @property
    def harmless(self) -> list[Trial]:
        """Settings that make training faster and change nothing else, the best first."""
        return [trial for trial in faster(self.trials) if not trial.setting.changes]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        inference = self.inference
        return {
            "experiment": self.experiment,
            "facts": self.facts,
            "ceilings": vars(self.ceilings),
            "lowest": self.ceilings.lowest,
            "first_epoch": self.uncached,
            "pipeline": self.pipeline,
            "ratio": self.ratio,
            "peak_memory_mb": vars(self.memory),
            "predict": {
                "pipeline": inference.pipeline,
                "step": inference.step,
                "ratio": inference.ratio,
                "views": inference.views,
                "size": inference.size,
            },
            "settings": [trial.as_dict() for trial in self.trials],
            "drift": self.drift,
            "advice": self.advice,
        }


def bench(
    config: Config, workspace: Workspace, options: BenchOptions | None = None, progress: Progress = SILENT
) -> Bench:
    """Return how fast a config trains and predicts on this machine. No run, fold or cached image remains.

    The trainer itself runs on some images of fold 0, as in the last epoch.

    Raises:
        KitError: The config or the data is wrong, or two images do not fit in memory.
    """
    from kit.engine.device.device import find_device, prepare_process
    from kit.engine.fit.validate_config import check_recipe

    options = options or BenchOptions()
    for warning in check_recipe(config, workspace):
        progress.warn(warning)
    prepare_process()
    device = find_device()
    with measuring_place(
        config, workspace, MAX_IMAGES.get(device.type, MAX_IMAGES["cuda"]), progress
    ) as place:
        return _Measurement(_whole_network(config, progress), place, options, device).all()


@contextmanager
def measuring_place(
    config: Config, workspace: Workspace, max_images: int, progress: Progress = SILENT
) -> Iterator[Place]:
    """Yield a temporary place to measure in, on the disk of the competition's cache."""
    data = prepare(config, workspace, progress, write_folds=False)
    cache = workspace.cache(data.competition.name)
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=cache) as folder:
        path = Path(folder)
        scratch = Scratch(workspace.root, workspace.data_roots, workspace.weights_roots, path)
        yield Place(scratch, data, RunFolder(path / "run" / config.name), max_images, progress)


def _whole_network(config: Config, progress: Progress) -> Config:
    """Return a config whose steps run the whole network, not stored features."""
    if not feature_cache.is_head_only(config) or config.augment.views is None:
        return config
    progress.note(
        "this config trains its head on cached features; the whole network is measured (augment.views=null)"
    )
    return config.model_copy(update={"augment": config.augment.model_copy(update={"views": None})})


class _Measurement:
    """Measures one config."""

    def __init__(self, config: Config, place: Place, options: BenchOptions, device: torch.device) -> None:
        self.config, self.place, self.options, self.device = config, place, options, device
        self.progress = place.progress
        self.seconds = SECONDS.get(device.type, SECONDS["cuda"])

    def all(self) -> Bench:
        config = self.config
        rig, paces, uncached, memory = self._measure_config()
        ceilings = Ceilings(paces["data"].rate, paces["step"].rate, self._disk(rig))
        self._note("prediction")
        inference = infer(rig, self._effort(TRIAL_SHARE))
        facts, own = self._facts(rig), self._baseline(rig)
        micro_batch_size = rig.trainer.state.micro_batch_size
        del rig
        pipeline = paces["pipeline"]
        trials, drift = self._trials(own, pipeline, micro_batch_size) if self.options.settings else ([], 1.0)
        label = f"{config.competition.name}/{config.name}"
        return Bench(label, facts, ceilings, uncached.rate, pipeline.rate, memory, inference, trials, drift)

    def _measure_config(self) -> tuple[Rig, dict[str, Pace], Pace, Memory]:
        """Measure the config as it is, with a smaller micro-batch on out-of-memory."""
        from kit.engine.device.memory import halve_until_it_fits, is_out_of_memory
        from kit.training.fold import SMALLEST_BATCH

        def measure(micro_batch_size: int) -> tuple[Rig, dict[str, Pace], Pace, Memory]:
            rig = Rig(self.config, self.place, micro_batch_size)
            return rig, *self._ceilings(rig)

        try:
            return halve_until_it_fits(
                self.config.train.batch_size, measure, self.progress.warn, SMALLEST_BATCH
            )
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise KitError(
                "train.batch_size",
                "out of memory even with a micro-batch of two images",
                code="out_of_memory",
            ) from error

    def _ceilings(self, rig: Rig) -> tuple[dict[str, Pace], Pace, Memory]:
        self._note("loading without a cache")
        drop_file_pages([self.place.data.competition.root / p.path for p in rig.pictures])
        uncached = rig.uncached()
        parts: dict[str, Callable[[Effort], Pace]] = {"data": rig.data, "step": rig.step}
        parts["pipeline"] = rig.pipeline
        found: dict[str, Pace] = {}
        memory = PeakMemory()
        self._reset_device_memory()
        with memory:
            for number in range(ROUNDS):
                for name, measure in parts.items():
                    self._note(f"{name}, round {number + 1} of {ROUNDS}")
                    pace = measure(self._effort(1 / ROUNDS))
                    found[name] = found[name] + pace if name in found else pace
        return found, uncached, Memory(memory.mb, self._device_memory())

    def _disk(self, rig: Rig) -> float | None:
        self._note("disk")
        return reading_rate(rig.store, rig.pictures)

    def _trials(self, own: Baseline, pipeline: Pace, micro_batch_size: int) -> tuple[list[Trial], float]:
        """Return the trials of other settings, and the drift of the config's own rate."""
        compiling = self.options.compiling
        compiling = self.device.type == "cuda" if compiling is None else compiling
        own_rates, trials = [pipeline.rate], []
        ends = time.monotonic() + TRIAL_SECONDS
        for setting in settings_to_try(self.config, own, compiling):
            rate = self._try(setting, micro_batch_size) if time.monotonic() < ends else NOT_TRIED
            if isinstance(rate, str):
                trials.append(Trial(setting, None, None, problem=rate))
                continue
            gain = rate / own_rates[-1]
            if gain > MIN_GAIN:  # or the machine became faster: measure both again
                own_rates.append(self._own_rate(micro_batch_size, own_rates[-1]))
                again = self._try(setting, micro_batch_size)
                gain = min(gain, again / own_rates[-1]) if isinstance(again, float) else 0.0
            trials.append(Trial(setting, rate, gain))
        own_rates.append(self._own_rate(micro_batch_size, own_rates[-1]))
        return trials, max(own_rates) / min(own_rates)

    def _own_rate(self, micro_batch_size: int, before: float) -> float:
        """Return the current rate of the config's own settings, or the previous one on failure."""
        rate = self._try(None, micro_batch_size)
        return before if isinstance(rate, str) else rate

    def _try(self, setting: Setting | None, micro_batch_size: int) -> float | str:
        """Return the rate of the pipeline with a setting (None: the config's own), or why there is none."""
        from kit.engine.device.device import is_compiler_error
        from kit.engine.device.memory import free_memory, is_out_of_memory

        self.progress.note(f"trying {setting.text}" if setting else "the config's own settings once more")
        config = setting.of(self.config) if setting else self.config
        effort = self._effort(TRIAL_SHARE * self.config.train.batch_size / config.train.batch_size)
        try:
            return self._rate(config, effort, setting, micro_batch_size)
        except (RuntimeError, MemoryError, KitError) as error:
            if is_out_of_memory(error):
                return "out of memory"
            if is_compiler_error(error):
                return f"torch.compile failed: {str(error).strip().partition(chr(10))[0]}"
            if isinstance(error, KitError):
                return error.problem
            raise
        finally:
            free_memory()

    def _rate(self, config: Config, effort: Effort, setting: Setting | None, micro_batch_size: int) -> float:
        """Return the rate of the pipeline."""
        is_compiling = setting is not None and setting.key == "train.compile"
        place = self.place if is_compiling else replace(self.place, progress=SILENT)
        changes_memory = setting is not None and setting.key in ("train.batch_size", "train.precision")
        rig = Rig(config, place, None if changes_memory else min(micro_batch_size, config.train.batch_size))
        if setting is not None and setting.key == "image.cache":
            rig.uncached()  # measure epochs with a filled cache
        return rig.pipeline(effort).rate

    def _effort(self, share: float) -> Effort:
        return Effort(
            WARMUP, max(2, round(self.options.steps * share)), self.seconds * share, ENOUGH_SECONDS * share
        )

    def _baseline(self, rig: Rig) -> Baseline:
        cores, images = os.cpu_count() or 1, len(rig.trainer.images.train)
        return Baseline(self.device.type, cores, rig.workers, rig.precision, images)

    def _facts(self, rig: Rig) -> dict[str, str]:
        """Return the facts about device, model and data."""
        from kit.engine.device.device import device_name

        config, own = rig.config, rig.trainer.images.train
        shape = rig.resident.images.shape
        parts = rig.trainer.state.micro_batch_size
        batch = f"{counted(config.train.batch_size * config.train.accumulate, 'image')}"
        return {
            "device": device_name(self.device),
            "cores": f"{os.cpu_count()}, {rig.workers} loader processes",
            "model": f"{config.model.name}, {shape[-1]} px, {rig.precision}",
            "step": batch if parts >= shape[0] else f"{batch}, micro-batches of {parts}",
            "images": f"{len(rig.rows)} of the {len(own)} that fold 0 trains on",
            "cache": config.image.cache,
        }

    def _reset_device_memory(self) -> None:
        if self.device.type == "cuda":
            import torch

            torch.cuda.reset_peak_memory_stats(self.device)

    def _device_memory(self) -> float | None:
        if self.device.type != "cuda":
            return None
        import torch

        return float(torch.cuda.max_memory_allocated(self.device)) / 1e6

    def _note(self, what: str) -> None:
        self.progress.note(f"measuring {what}")

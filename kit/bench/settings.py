"""Settings that may make training faster, and advice from their trials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kit.config import Config
from kit.errors import counted

MIN_GAIN = 1.05  # smaller gains may be noise
MAX_DRIFT = 1.2  # a larger drift means that other programs are running
SMALLEST_BATCH = 2


@dataclass(frozen=True)
class Setting:
    """One change of a config.

    Attributes:
        key: Config key.
        changes: Effect on the training besides speed; empty: none.
    """

    key: str
    value: Any
    changes: str = ""

    @property
    def text(self) -> str:
        """The change in ``--set`` form."""
        value = str(self.value).lower() if isinstance(self.value, bool) else self.value
        return f"{self.key}={value}"

    def of(self, config: Config) -> Config:
        """Return the config with this change."""
        part, _, name = self.key.partition(".")
        section = getattr(config, part).model_copy(update={name: self.value})
        return config.model_copy(update={part: section})


@dataclass(frozen=True)
class Trial:
    """The trial of a setting.

    Attributes:
        rate: Images per second of the whole pipeline; None: not measured.
        gain: Rate divided by that of the config.
        problem: Why it was not measured.
    """

    setting: Setting
    rate: float | None
    gain: float | None
    problem: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        values = {"set": self.setting.text, "pipeline": self.rate, "ratio": self.gain}
        texts = {"changes": self.setting.changes, "problem": self.problem}
        return values | {key: text for key, text in texts.items() if text}


@dataclass(frozen=True)
class Baseline:
    """The config's own values on this machine.

    Attributes:
        device: ``cpu`` or ``cuda``.
        cores: Number of CPU cores.
        images: Number of training images of a fold.
    """

    device: str
    cores: int
    workers: int
    precision: str
    images: int


def settings_to_try(config: Config, own: Baseline, compiling: bool) -> list[Setting]:
    """Return the settings to try, one change each."""
    is_gpu, train = own.device == "cuda", config.train
    workers = [n for n in ((4, 8, 16) if is_gpu else (0, 1)) if n != own.workers and n <= max(4, own.cores)]
    cache = "none" if config.image.cache != "none" else "auto"
    precisions = [p for p in ("fp32", "bf16", *(["fp16"] if is_gpu else [])) if p != own.precision]
    sizes = [n for n in (train.batch_size * 2, train.batch_size // 2) if SMALLEST_BATCH <= n <= own.images]
    return [
        *(Setting("train.workers", n) for n in workers),
        Setting("image.cache", cache),
        *(Setting("train.precision", p, "scores change a little") for p in precisions),
        *(
            Setting(
                "train.batch_size",
                n,
                f"a step learns from {counted(n * train.accumulate, 'image')}: tune train.lr",
            )
            for n in sizes
        ),
        *([Setting("train.compile", True)] if compiling and not train.compile else []),
    ]


def faster(trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials that are faster than the config beyond noise, the best first."""
    found = [trial for trial in trials if trial.gain is not None and trial.gain > MIN_GAIN]
    return sorted(found, key=lambda trial: -(trial.gain or 0))


def advice(trials: Sequence[Trial], drift: float) -> list[str]:
    """Return one sentence per faster setting, the best first; each was tried alone.

    Args:
        drift: Fastest rate of the config divided by its slowest.
    """
    sentences = [_sentence(trial) for trial in faster(trials)] or ["None of the tried settings is faster."]
    if drift > MAX_DRIFT:
        sentences.append(
            f"The machine is busy: the same steps took up to {drift:.1f} times as long. Run again later."
        )
    return sentences


def _sentence(trial: Trial) -> str:
    changes = f" ({trial.setting.changes})" if trial.setting.changes else ""
    return f"--set {trial.setting.text} trains {trial.gain:.2f} times as fast{changes}."

"""What ``kit auto`` searches: one entry per choice, with its range and the config values that it sets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kit.auto.candidates import Candidate
from kit.config import Config
from kit.tasks import Task

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Range = tuple[float, float]
SMOOTHED = "cross_entropy"
SIZE_STEP = 32  # px; networks with windows or strides need a multiple
SMALLEST_SIZE = 96  # px; smaller inputs lose what pretrained networks look for


@dataclass(frozen=True)
class Choice:
    """One thing to decide.

    Attributes:
        name: The name in tables and plots.
        options: The values to choose from; empty: a number in ``bounds``.
        bounds: The lowest and the highest number, searched on a logarithmic scale.
        prior: The value to start with.
        values: (value, candidate, native size) -> values of the config, by dotted key.
        suits: (config, task, whether networks are pretrained) -> whether to decide it at all.
    """

    name: str
    values: Callable[[Any, Candidate, int], dict[str, Any]]
    prior: Any
    options: tuple[Any, ...] = ()
    bounds: Range = (0.0, 0.0)
    suits: Callable[[Config, Task, bool], bool] = lambda config, task, pretrained: True

    def distribution(self) -> BaseDistribution:
        """Return the range in Optuna's form."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution

        if self.options:
            return CategoricalDistribution(self.options)
        return FloatDistribution(*self.bounds, log=True)


def _one(key: str) -> Callable[[Any, Candidate, int], dict[str, Any]]:
    return lambda value, candidate, native: {key: value}


def _pretrained(config: Config, task: Task, pretrained: bool) -> bool:
    return pretrained


def _scratch(config: Config, task: Task, pretrained: bool) -> bool:
    return not pretrained


def _mixes(config: Config, task: Task, pretrained: bool) -> bool:
    return pretrained and not task.numeric


def _smooths(config: Config, task: Task, pretrained: bool) -> bool:
    default = config.train.loss is None or config.train.loss.name == SMOOTHED
    return default and task.exclusive and not task.numeric and not task.soft


def _augments_photos(config: Config, task: Task, pretrained: bool) -> bool:
    return pretrained and _augments_drawings(config, task, pretrained=False)


def _augments_drawings(config: Config, task: Task, pretrained: bool) -> bool:
    return not pretrained and config.augment.pipeline is None and config.image.channels == 3


def _size(value: float, candidate: Candidate, native: int) -> dict[str, Any]:
    return {"image.size": scaled_size(native, value), "image.predict_size": None}


def _smoothing(value: float, candidate: Candidate, native: int) -> dict[str, Any]:
    return {"train.loss": {"name": SMOOTHED, "label_smoothing": value}}


def scaled_size(native: int, factor: float) -> int:
    """Return an image size as a fraction of the native one; small native sizes are kept.

    >>> scaled_size(224, 0.7), scaled_size(224, 0.2), scaled_size(24, 0.7)
    (160, 96, 24)
    """
    if native < SMALLEST_SIZE:
        return native
    return max(SMALLEST_SIZE, round(native * factor / SIZE_STEP) * SIZE_STEP)


SIZES = (0.6, 0.8, 1.0, 1.25)  # of the native size
PHOTOS = ("light", "medium", "heavy")
DRAWINGS = ("none", "shift", "light", "medium")
CHOICES = (
    Choice("size", _size, 1.0, options=SIZES, suits=_pretrained),
    Choice("lr", _one("train.lr"), 3e-4, bounds=(5e-5, 2e-3), suits=_pretrained),
    Choice("lr", _one("train.lr"), 3e-3, bounds=(5e-4, 2e-2), suits=_scratch),
    Choice("head_lr", _one("train.head_lr"), 1e-3, bounds=(3e-4, 1e-2), suits=_pretrained),
    Choice("layer_decay", _one("train.layer_decay"), 0.85, options=(0.7, 0.85, 1.0), suits=_pretrained),
    Choice("augment", _one("augment.preset"), "medium", PHOTOS, suits=_augments_photos),
    Choice("augment", _one("augment.preset"), "light", DRAWINGS, suits=_augments_drawings),
    Choice("mixup", _one("augment.mixup"), 0.2, options=(0.0, 0.2), suits=_mixes),
    Choice("cutmix", _one("augment.cutmix"), 0.0, options=(0.0, 1.0), suits=_mixes),
    Choice("smoothing", _smoothing, 0.1, options=(0.0, 0.1), suits=_smooths),
    Choice("weight_decay", _one("train.weight_decay"), 0.05, bounds=(1e-3, 0.3)),
)


def choices_for(config: Config, task: Task, pretrained: bool) -> list[Choice]:
    """Return what to decide for a competition, given whether its networks are pretrained."""
    return [choice for choice in CHOICES if choice.suits(config, task, pretrained)]

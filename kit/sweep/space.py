"""Read the space of a sweep: ``--grid KEY=V1,V2`` lists values, ``--grid KEY=LOW..HIGH`` is a range."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kit.errors import KitError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
RANGE = re.compile(rf"\s*({NUMBER})\.\.({NUMBER})\s*")
WHOLE = re.compile(r"[+-]?\d+")
LOG_RATIO = 10  # high / low from which a range is logarithmic
DIGITS = 4  # significant digits of a drawn number
FORM = "The form is --grid train.lr=1e-4,3e-4, or with --random or --tpe also --grid train.lr=1e-5..1e-3"
# Keys that change what is compared: the rows, the metric, the file, or the names of the experiments.
FIXED = ("name", "competition", "folds", "submission", "base")


@dataclass(frozen=True)
class Axis:
    """The values of one key: ``options``, or the numbers from ``low`` to ``high``.

    Attributes:
        options: Empty for a range.
        is_log: Whether numbers are drawn on a logarithmic scale.
        is_whole: Whether numbers are whole.
    """

    key: str
    options: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    is_log: bool = False
    is_whole: bool = False

    @property
    def is_range(self) -> bool:
        """Whether the axis is a range of numbers."""
        return not self.options

    @property
    def examples(self) -> tuple[Any, ...]:
        """All options, or the ends of the range."""
        return self.options or (self.number(self.low), self.number(self.high))

    def contains(self, value: Any) -> bool:
        """Return whether the axis has a value."""
        if self.options:
            return text_of(value) in map(text_of, self.options)
        is_number = isinstance(value, int if self.is_whole else int | float) and not isinstance(value, bool)
        return is_number and self.low <= value <= self.high

    def draw(self, rng: np.random.Generator) -> Any:
        """Return a value, each equally likely (on the axis's scale)."""
        if self.options:
            return self.options[int(rng.integers(len(self.options)))]
        if self.is_whole and not self.is_log:
            return int(rng.integers(int(self.low), int(self.high), endpoint=True))
        if self.is_log:
            return self.number(math.exp(rng.uniform(math.log(self.low), math.log(self.high))))
        return self.number(rng.uniform(self.low, self.high))

    def number(self, value: float) -> float | int:
        """Return a number as it is trained with: whole, or of four significant digits, within the range."""
        tidy = round(value) if self.is_whole else float(f"{value:.{DIGITS}g}")
        low, high = (int(self.low), int(self.high)) if self.is_whole else (self.low, self.high)
        return min(max(tidy, low), high)

    # --- Optuna knows an option by its position: its choices cannot be lists or mappings

    def distribution(self) -> BaseDistribution:
        """Return the axis in Optuna's form."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.options:
            return CategoricalDistribution(range(len(self.options)))
        if self.is_whole:
            return IntDistribution(int(self.low), int(self.high), log=self.is_log)
        return FloatDistribution(self.low, self.high, log=self.is_log)

    def to_optuna(self, value: Any) -> Any:
        """Return a value in Optuna's form."""
        return [*map(text_of, self.options)].index(text_of(value)) if self.options else value

    def from_optuna(self, value: Any) -> Any:
        """Return a value from Optuna's form."""
        return self.options[value] if self.options else self.number(value)


def text_of(value: Any) -> str:
    """Return a value, or a mapping of values, as text: equal values have equal texts. YAML reads it."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def parse_space(grid: Sequence[str]) -> list[Axis]:
    """Return the axes of ``--grid`` options.

    Raises:
        KitError: An option has another form, or two are about the same key.
    """
    if not grid:
        raise KitError("--grid", "is missing", FORM, code="grid_invalid")
    axes = [_parse_axis(text) for text in grid]
    for position, axis in enumerate(axes):
        for other in axes[:position]:
            if f"{axis.key}.".startswith(f"{other.key}.") or f"{other.key}.".startswith(f"{axis.key}."):
                problem = f"sets the same key as --grid {other.key}"
                rule = "Each key has one list of values or one range"
                raise KitError(f"--grid {axis.key}", problem, rule, code="grid_invalid")
    return axes


def _parse_axis(text: str) -> Axis:
    key, equals, values = text.partition("=")
    key, where = key.strip(), f"--grid {text}"
    if not equals or not key:
        raise KitError(where, "has no key or no '='", FORM, code="grid_invalid")
    if key.split(".")[0] in FIXED:
        rule = "All combinations are scored on the same rows by the same metric, and kit names them"
        raise KitError(
            where,
            f"{key} cannot be swept",
            rule,
            f"Use --set {key}=… for all of them.",
            code="sweep_key_fixed",
        )
    found = RANGE.fullmatch(values)
    return _range(key, found[1], found[2], where) if found else Axis(key, _options(values, where))


def _range(key: str, first: str, last: str, where: str) -> Axis:
    low, high = float(first), float(last)
    if not low < high:
        raise KitError(where, "does not begin with the smaller number", FORM, code="range_invalid")
    is_whole = bool(WHOLE.fullmatch(first) and WHOLE.fullmatch(last))
    return Axis(key, (), low, high, low > 0 and high / low >= LOG_RATIO, is_whole)


def _options(values: str, where: str) -> tuple[Any, ...]:
    """Return the values of a list, each in YAML, without repetitions."""
    import yaml
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        config = OmegaConf.from_dotlist([f"values=[{values}]"])
        found = OmegaConf.to_container(config, resolve=False)["values"]  # type: ignore[call-overload, index]
        by_text = {text_of(value): value for value in found}
    except (yaml.YAMLError, OmegaConfBaseException, ValueError, TypeError) as error:
        raise KitError(where, "is not a list of YAML values", FORM, code="grid_invalid") from error
    if not by_text:
        raise KitError(where, "has no values", FORM, code="grid_invalid")
    if any(isinstance(value, str) and RANGE.fullmatch(value) for value in found):
        raise KitError(where, "has a range among other values", FORM, code="range_invalid")
    return tuple(by_text.values())


def overrides_of(values: Mapping[str, Any]) -> list[str]:
    """Return the values of a combination as ``KEY=VALUE`` overrides.

    Names come first: a new name of a model or loss removes the options that an earlier override has set.
    """
    order = sorted(values, key=lambda key: (not key.endswith((".name", ".layout")), key.count(".")))
    return [f"{key}={text_of(values[key])}" for key in order]

"""Choose combinations from a space: all of them, random ones, or by Optuna's TPE from earlier scores."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from kit.auto.search import STARTUP_TRIALS
from kit.errors import KitError
from kit.runtime.seeds import stable_seed
from kit.sweep.space import Axis, text_of

Values = dict[str, Any]
MAX_COMBINATIONS = 1000
ATTEMPTS = 100  # draws per combination, before a space counts as exhausted


@dataclass(frozen=True)
class Tried:
    """A combination that was tried: its score over all folds, or of the first fold if it was pruned."""

    values: Mapping[str, Any]
    score: float
    is_pruned: bool = False


def all_combinations(space: Sequence[Axis]) -> list[Values]:
    """Return every combination of a space without ranges; the values of the last key change fastest."""
    return [
        dict(zip([axis.key for axis in space], values, strict=True))
        for values in product(*(axis.options for axis in space))
    ]


def size_of(space: Sequence[Axis]) -> float:
    """Return the number of combinations; infinite if a range is not of whole numbers."""
    sizes = [len(axis.options) or (axis.high - axis.low + 1 if axis.is_whole else math.inf) for axis in space]
    return math.prod(sizes)


def check_count(count: float, option: str) -> None:
    """Check that combinations are neither none nor too many.

    Raises:
        KitError: They are.
    """
    if 1 <= count <= MAX_COMBINATIONS:
        return
    raise KitError(
        option,
        f"{count:.0f} combinations",
        f"A sweep has 1 to {MAX_COMBINATIONS}",
        "" if count < 1 else "Shorten the lists, or draw some: `--random 30`.",
        code="sweep_size",
    )


def random_combinations(space: Sequence[Axis], count: int, seed: int) -> list[Values]:
    """Return different combinations; the first ones do not depend on the count. Small spaces have fewer."""
    found: dict[str, Values] = {}
    for attempt in range(count * ATTEMPTS):
        values = _draw(space, seed, attempt)
        found.setdefault(text_of(values), values)
        if len(found) >= min(count, size_of(space)):
            break
    return list(found.values())


def next_by_tpe(
    space: Sequence[Axis],
    tried: Sequence[Tried],
    known: Sequence[Mapping[str, Any]],
    higher_is_better: bool,
    seed: int,
) -> Values | None:
    """Return the next combination, or None if the space has no other.

    Args:
        known: The combinations that are tried, failed or begun: none of them is returned.
    """
    seen = {text_of(dict(values)) for values in known}
    if len(seen) >= size_of(space):
        return None
    start = stable_seed("sweep", seed, len(seen))
    for attempt in range(ATTEMPTS // 10):
        values = _ask(space, tried, higher_is_better, start + attempt)
        if text_of(values) not in seen:
            return values
    others = (_draw(space, start, attempt) for attempt in range(ATTEMPTS))
    return next((values for values in others if text_of(values) not in seen), None)


def _draw(space: Sequence[Axis], seed: int, number: int) -> Values:
    """Return random values; those of a key do not depend on the other keys."""
    return {
        axis.key: axis.draw(np.random.default_rng(stable_seed("sweep", seed, number, axis.key)))
        for axis in space
    }


def _ask(space: Sequence[Axis], tried: Sequence[Tried], higher_is_better: bool, seed: int) -> Values:
    import optuna

    distributions = {axis.key: axis.distribution() for axis in space}
    sampler = optuna.samplers.TPESampler(
        seed=seed % 2**32, n_startup_trials=STARTUP_TRIALS, multivariate=True
    )
    study = optuna.create_study(direction="maximize" if higher_is_better else "minimize", sampler=sampler)
    states = optuna.trial.TrialState
    for each in tried:
        study.add_trial(
            optuna.trial.create_trial(
                state=states.PRUNED if each.is_pruned else states.COMPLETE,
                params={axis.key: axis.to_optuna(each.values[axis.key]) for axis in space},
                distributions=distributions,
                value=None if each.is_pruned else each.score,
                intermediate_values={0: each.score},
            )
        )
    asked = study.ask(distributions).params
    return {axis.key: axis.from_optuna(asked[axis.key]) for axis in space}

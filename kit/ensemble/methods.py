"""How several predictions become one: (members, N, C) -> (N, C)."""

from collections.abc import Callable

import numpy as np

from kit.registry import Registry

Method = Callable[[np.ndarray], np.ndarray]
methods: Registry[Method] = Registry("blend method")


@methods.register("mean")
def mean(stacked: np.ndarray) -> np.ndarray:
    """Return the arithmetic mean of the members' probabilities."""
    result: np.ndarray = stacked.mean(axis=0)
    return result


@methods.register("gmean")
def gmean(stacked: np.ndarray) -> np.ndarray:
    """Return the geometric mean of the members' probabilities, which one doubtful member pulls down.

    It is not normalised: the caller knows whether rows are to sum to 1.
    """
    floor = np.finfo(np.float32).tiny
    result: np.ndarray = np.exp(np.log(np.maximum(stacked, floor)).mean(axis=0))
    return result

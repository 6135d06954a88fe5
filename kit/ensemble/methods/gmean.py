"""Method ``gmean``: the geometric mean."""

import numpy as np

from kit.ensemble.blend_data import BlendData, Combination
from kit.ensemble.methods.registry import register_method
from kit.metrics.averages import geometric_mean


@register_method("gmean")
def gmean(data: BlendData) -> Combination:
    """Return the geometric mean of the probabilities, in which small probabilities count more."""

    def combine(members: np.ndarray) -> np.ndarray:
        equal = np.full(len(members), 1 / len(members))
        return np.asarray(geometric_mean((member.astype(np.float64) for member in members), equal))

    return Combination(combine)

"""Method ``gmean``: the geometric mean."""

import numpy as np

from kit.ensemble.blend_data import BlendData, Combination
from kit.ensemble.methods.registry import refuse_below, register_method
from kit.metrics.averages import geometric_mean


@register_method("gmean", number=True)
def gmean(data: BlendData) -> Combination:
    """Return the geometric mean of the probabilities, in which small probabilities count more.

    Numbers of a regression must be above 0.
    """

    def combine(members: np.ndarray) -> np.ndarray:
        if data.task.numeric:
            refuse_below(0.0, members, "gmean")
            return np.asarray(np.exp(np.log(members.astype(np.float64)).mean(axis=0)))
        equal = np.full(len(members), 1 / len(members))
        return np.asarray(geometric_mean((member.astype(np.float64) for member in members), equal))

    return Combination(combine)

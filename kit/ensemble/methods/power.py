"""Method ``power``: the power mean."""

from typing import Annotated

import numpy as np
from pydantic import Field

from kit.ensemble.blend_data import BlendData, Combination
from kit.ensemble.methods.registry import refuse_below, register_method


@register_method("power", number=True)
def power(data: BlendData, *, exponent: Annotated[float, Field(gt=0, le=20)] = 2.0) -> Combination:
    """Return the power mean of the probabilities; above exponent 1, large probabilities count more.

    Numbers of a regression must be above 0.
    """

    def combine(members: np.ndarray) -> np.ndarray:
        if data.task.numeric:
            refuse_below(0.0, members, "power")
        total = sum(member.astype(np.float64) ** exponent for member in members)
        return np.asarray((total / len(members)) ** (1 / exponent))

    return Combination(combine)

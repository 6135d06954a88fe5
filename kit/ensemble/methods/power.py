"""Method ``power``: the power mean."""

from typing import Annotated

import numpy as np
from pydantic import Field

from kit.ensemble.blend_data import BlendData, Combination
from kit.ensemble.methods.registry import register_method


@register_method("power")
def power(data: BlendData, *, exponent: Annotated[float, Field(gt=0, le=20)] = 2.0) -> Combination:
    """Return the power mean of the probabilities; above exponent 1, large probabilities count more."""

    def combine(members: np.ndarray) -> np.ndarray:
        total = sum(member.astype(np.float64) ** exponent for member in members)
        return np.asarray((total / len(members)) ** (1 / exponent))

    return Combination(combine)

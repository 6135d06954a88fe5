"""Method ``mean``: the arithmetic mean."""

import numpy as np

from kit.ensemble.blend_data import BlendData, Combination, weighted_mean
from kit.ensemble.methods.registry import register_method


@register_method("mean", any_folds=True, number=True)
def mean(data: BlendData) -> Combination:
    """Return the arithmetic mean of the probabilities, or of the numbers of a regression."""
    return weighted_mean(np.full(len(data.members), 1 / len(data.members)))

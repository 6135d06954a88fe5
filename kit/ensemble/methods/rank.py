"""Method ``rank``: the mean rank."""

import numpy as np

from kit.ensemble.blend_data import BlendData, Combination
from kit.ensemble.methods.registry import register_method
from kit.metrics.averages import mean_rank


@register_method("rank", order_only=True)
def rank(data: BlendData) -> Combination:
    """Return the mean of the members' ranks within each class, for metrics that read only the order of rows.

    Ranks are computed within the rows of one prediction: a fold, or the test images.
    """
    return Combination(lambda members: mean_rank(members, np.full(len(members), 1 / len(members))))

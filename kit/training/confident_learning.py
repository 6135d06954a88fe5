"""Find labels that are likely wrong, from probabilities of models that were not trained on them.

Confident learning (Northcutt et al. 2021): a class is a candidate for an image if its probability is at least
the mean over the images labeled with it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class LikelyErrors(NamedTuple):
    """Labels that are likely wrong, as parallel arrays (M,).

    Attributes:
        rows: The image.
        columns: The likelier class; with several classes per image, the class that is wrongly present or
            absent.
        margins: The probability of the suggestion minus that of the label.
    """

    rows: np.ndarray
    columns: np.ndarray
    margins: np.ndarray


def wrong_classes(targets: np.ndarray, probs: np.ndarray) -> LikelyErrors:
    """Return the likely errors among labels of one class per image, in row order.

    Args:
        targets: Class indices (N,).
        probs: (N, C).
    """
    num_classes = probs.shape[1]
    counts = np.bincount(targets, minlength=num_classes)
    own = probs[np.arange(len(targets)), targets]
    usual = np.bincount(targets, weights=own, minlength=num_classes) / np.maximum(counts, 1)
    usual[counts == 0] = np.inf  # a class without images is never a candidate
    candidate_probs = np.where(probs >= usual, probs, -1.0)  # -1: the class is no candidate
    suggested = candidate_probs.argmax(axis=1)
    margins = candidate_probs.max(axis=1) - own
    rows = np.flatnonzero((suggested != targets) & (margins > 0))
    return LikelyErrors(rows, suggested[rows], margins[rows])


def wrong_flags(targets: np.ndarray, probs: np.ndarray) -> LikelyErrors:
    """Return the likely errors among labels of several classes per image, by class.

    First come images that are likely to have the class, then images that are likely not to.

    Args:
        targets: (N, C), 0 or 1.
        probs: (N, C).
    """
    rows, columns = [], []
    for c in range(targets.shape[1]):
        present, chances = targets[:, c] == 1, probs[:, c]
        if present.all() or not present.any():
            continue
        likely_present = ~present & (chances >= chances[present].mean()) & (chances > 0.5)
        likely_absent = present & (chances <= chances[~present].mean()) & (chances < 0.5)
        for wrong in (likely_present, likely_absent):
            rows += np.flatnonzero(wrong).tolist()
            columns += [c] * int(wrong.sum())
    at = np.array(rows, dtype=np.int64), np.array(columns, dtype=np.int64)
    return LikelyErrors(*at, abs(2 * probs[at] - 1))

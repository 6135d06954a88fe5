"""Choose the views of test-time augmentation from what they gain and what they cost."""

from __future__ import annotations

from kit.config import Component
from kit.evaluation.tta_ablation import TtaReport, ViewSetScore

VIEW_CANDIDATES = [Component(name=name) for name in ("identity", "hflip", "multi_scale")]


def views_worth_their_time(report: TtaReport, images: int, seconds: float) -> ViewSetScore:
    """Return the best-scoring set of views whose prediction fits into the time.

    Return the first set, identity alone, if choosing does not help on rows that the choice did not use.

    Args:
        images: The number of images to predict.
        seconds: The most that predicting them may take.
    """
    plain, *larger = report.path
    if report.nested.gain.value <= 0:
        return plain
    fitting = [each for each in larger if each.seconds * images / 1000 <= seconds]
    return max([plain, *fitting], key=lambda each: each.gain.value)

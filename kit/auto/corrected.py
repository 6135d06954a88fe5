"""Score the best of several configs without the optimism of having chosen it.

The best of many scores is too high, since the config was chosen on the rows that it is scored on. Bootstrap
bias correction repeats the choice on rows drawn with replacement, and scores the chosen config on the rows
that were not drawn (Tsamardinos, Greasidou & Borboudakis 2018, "Bootstrapping the out-of-sample predictions
for efficient and accurate cross-validation", Machine Learning 107).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from kit.metrics.bootstrap import Interval, bootstrap_weights, interval, plain_dict
from kit.metrics.metric import Scorer

DRAWS = 500


@dataclass(frozen=True)
class Corrected:
    """The score to expect of the chosen config on new images.

    Attributes:
        score: The mean over draws of the chosen config's score on rows that were not drawn.
        interval: The 95 % interval of the draws: the noise of the rows and of the choice.
        raw: The score of the best config on all of these rows.
        configs: The number of configs to choose from.
        rows: The number of rows.
    """

    score: float
    interval: Interval
    raw: float
    configs: int
    rows: int

    def text(self, metric: str) -> str:
        """Return what to expect, as one line."""
        return f"expect {metric} {self.score:.4f} on new images, 95 % interval {self.interval.text()}"

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self, dict_factory=plain_dict)


def corrected_score(
    scorers: Sequence[Scorer],
    num_rows: int,
    higher_is_better: bool,
    seed: int = 0,
    units: np.ndarray | None = None,
) -> Corrected:
    """Return the bias-corrected score of choosing the best of several configs.

    Args:
        scorers: For each config its metric on the same N rows.
        num_rows: N.
        units: The group of each row, (N,), drawn as a whole; None: every row is its own group.
    """
    sign = 1 if higher_is_better else -1
    draws = []
    for weights in bootstrap_weights(num_rows, DRAWS, seed, units):
        drawn = np.stack([scorer(weights) for scorer in scorers])  # (configs, draws)
        not_drawn = np.stack([scorer((weights == 0).astype(np.float64)) for scorer in scorers])
        best = np.argmax(np.nan_to_num(sign * drawn, nan=-np.inf), axis=0)
        draws.append(not_drawn[best, np.arange(len(weights))])
    scores = np.concatenate(draws)
    on_all = sign * np.array([float(scorer(np.ones((1, num_rows)))[0]) for scorer in scorers])
    known = scores[~np.isnan(scores)]
    mean = float(known.mean()) if len(known) else float("nan")
    return Corrected(mean, interval(scores), sign * float(on_all.max()), len(scorers), num_rows)

"""Compare the epochs whose weights are kept with the best and the last ones."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean

import pandas as pd

from kit.storage.workspace import RunFolder
from kit.training.trained_folds import trained_folds


@dataclass(frozen=True)
class KeptEpochs:
    """Mean validation scores over folds.

    Attributes:
        kept: Of the kept weights.
        best: Of each fold's best epoch: too high, since the epoch is picked on the rows it is scored on.
        last: Of each fold's last epoch.
    """

    kept: float
    best: float
    last: float

    def text(self) -> str:
        """Return what picking the best epoch adds to the score, as one sentence; empty: nothing."""
        if self.best == self.last:
            return ""
        added = f"{self.best:.4f} ({self.best - self.last:+.4f})"
        if self.kept == self.last:
            return (
                f"Fold scores are of the last epochs, mean {self.last:.4f}. The best epoch of each fold, "
                f"picked on the rows that it is scored on, would show {added}."
            )
        return (
            f"Fold scores are of the best epochs, mean {self.kept:.4f}: too high, since each is picked on "
            f"the rows that it is scored on. The last epochs have {self.last:.4f}."
        )


def kept_epochs(run: RunFolder, num_models: int, higher_is_better: bool) -> KeptEpochs | None:
    """Return the comparison over the trained folds of an experiment; None if none has a history."""
    kept, bests, lasts = [], [], []
    for k, fold in trained_folds(run, num_models, verify=False).items():
        if not run.fold(k).history.exists():
            continue
        scores = pd.read_csv(run.fold(k).history)["score"]
        kept.append(fold.score)
        bests.append(float(scores.max() if higher_is_better else scores.min()))
        lasts.append(float(scores.iloc[-1]))
    return KeptEpochs(fmean(kept), fmean(bests), fmean(lasts)) if kept else None

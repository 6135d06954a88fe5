"""What a competition's images are like, and what is wrong with them."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from kit.competition.duplicates import Duplicates, exact_groups, near_groups, sorted_out
from kit.competition.samples import Competition
from kit.competition.scan import MOMENTS, unreadable
from kit.config import NearConfig

ASPECTS = {  # width / height up to which an image is called so
    1 / 2: "very tall",
    1 / 1.05: "tall",
    1.05: "square",
    2: "wide",
    np.inf: "very wide",
}


@dataclass(frozen=True)
class Audit:
    """What ``kit inspect`` has found.

    Attributes:
        images: How many files were read, of train, test and held-out sets together.
        unlabelled: Training images without a label.
        held_out: Name of a held-out set -> its samples.
        class_counts: Training samples per class, in class order.
        co_occurrence: Class -> class -> training images that have both; empty for exclusive classes.
        unreadable: path -> why.
        sizes: ``width x height`` -> how many, the most frequent first.
        aspects: Shape -> how many.
        modes: Colour mode -> how many.
        formats: File ending -> how many.
        mean: Of the channels R, G, B over all readable training images, 0..1, each image counting the same.
        std: Likewise.
    """

    competition: str
    images: int
    train: int
    unlabelled: int
    held_out: dict[str, int]
    test: int
    class_counts: dict[str, int]
    co_occurrence: dict[str, dict[str, int]]
    unreadable: dict[str, str]
    sizes: dict[str, int]
    aspects: dict[str, int]
    modes: dict[str, int]
    formats: dict[str, int]
    mean: list[float]
    std: list[float]
    exact_duplicates: Duplicates
    near_duplicates: Duplicates

    @property
    def truncated(self) -> int:
        """How many of the unreadable files begin well and end too soon."""
        return sum("truncated" in why for why in self.unreadable.values())

    def as_dict(self) -> dict[str, object]:
        """Return the audit under the keys that ``--json`` promises."""
        return asdict(self) | {"unreadable": list(self.unreadable)}


def audit(competition: Competition, scan: pd.DataFrame, near: NearConfig) -> Audit:
    """Return what the scan says about the competition."""
    readable = scan[scan["error"] == ""]
    sizes = readable["width"].astype(str) + " x " + readable["height"].astype(str)
    mean, std = _mean_and_std(readable[readable["path"].isin(competition.train["path"])])
    return Audit(
        competition=competition.name,
        images=len(scan),
        train=len(competition.train),
        unlabelled=len(competition.train) - len(competition.labeled),
        held_out={name: len(table) for name, table in competition.held_out.items()},
        test=len(competition.test),
        class_counts={str(k): int(v) for k, v in competition.class_counts().items()},
        co_occurrence=_co_occurrence(competition),
        unreadable=unreadable(scan),
        sizes=_counted(sizes),
        aspects=_counted(
            pd.cut(readable["width"] / readable["height"], [0, *ASPECTS], labels=list(ASPECTS.values()))
        ),
        modes=_counted(readable["mode"]),
        formats=_counted(readable["format"]),
        mean=mean,
        std=std,
        exact_duplicates=sorted_out(competition, exact_groups(scan)),
        near_duplicates=sorted_out(competition, near_groups(scan, near)),
    )


def _counted(values: pd.Series) -> dict[str, int]:
    counts = values.astype(str).value_counts()
    return {str(name): int(count) for name, count in counts.items()}


def _co_occurrence(competition: Competition) -> dict[str, dict[str, int]]:
    if competition.task.exclusive:
        return {}
    matrix = competition.labeled[list(competition.classes)].to_numpy(dtype=np.int64)
    both = pd.DataFrame(matrix.T @ matrix, competition.classes, competition.classes)
    return {str(a): {str(b): int(n) for b, n in row.items()} for a, row in both.iterrows()}


def _mean_and_std(images: pd.DataFrame) -> tuple[list[float], list[float]]:
    if images.empty:
        return [0.0] * 3, [0.0] * 3
    moments = images[MOMENTS].mean().to_numpy()
    mean = moments[:3]
    return mean.round(4).tolist(), np.sqrt(np.maximum(moments[3:] - mean**2, 0)).round(4).tolist()

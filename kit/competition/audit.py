"""Summarize a competition's images: sizes, formats, class counts, unreadable files, duplicates."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from kit.competition.duplicates import Duplicates, exact_groups, near_groups, split_groups
from kit.competition.samples import Competition
from kit.competition.scan import MOMENTS, unreadable
from kit.config import NearConfig

ASPECTS = {  # the largest width / height of each shape
    1 / 2: "very tall",
    1 / 1.05: "tall",
    1.05: "square",
    2: "wide",
    np.inf: "very wide",
}


@dataclass(frozen=True)
class Numbers:
    """The distribution of the labels of a regression, over the labeled training images."""

    distinct: int
    low: float
    high: float
    median: float
    mean: float
    std: float


@dataclass(frozen=True)
class Audit:
    """The result of ``kit inspect``.

    Attributes:
        images: The number of files, of train, test and held-out sets together.
        unlabelled: The number of training images without a label.
        held_out: Name of a held-out set -> number of samples.
        class_counts: Training samples per class, in class order; empty if labels are numbers.
        numbers: The labels, if they are numbers.
        co_occurrence: Class -> class -> number of training images with both; empty for exclusive classes.
        unreadable: path -> reason.
        sizes: ``width x height`` -> count, most frequent first.
        aspects: Shape -> count.
        modes: Color mode -> count.
        formats: File suffix -> count.
        mean: The mean of each channel (R, G, B) of the readable training images, 0..1; images weigh the same.
        std: The standard deviation of each channel, likewise.
    """

    competition: str
    images: int
    train: int
    unlabelled: int
    held_out: dict[str, int]
    test: int
    class_counts: dict[str, int]
    numbers: Numbers | None
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
        """The number of unreadable files that are truncated."""
        return sum("truncated" in why for why in self.unreadable.values())

    def as_dict(self) -> dict[str, object]:
        """Return the audit as ``--json`` prints it."""
        return asdict(self) | {"unreadable": list(self.unreadable)}


def audit(competition: Competition, scan: pd.DataFrame, near: NearConfig) -> Audit:
    """Return the audit of a competition from its scan."""
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
        class_counts=_class_counts(competition),
        numbers=_numbers(competition),
        co_occurrence=_co_occurrence(competition),
        unreadable=unreadable(scan),
        sizes=_counts(sizes),
        aspects=_counts(
            pd.cut(readable["width"] / readable["height"], [0, *ASPECTS], labels=list(ASPECTS.values()))
        ),
        modes=_counts(readable["mode"]),
        formats=_counts(readable["format"]),
        mean=mean,
        std=std,
        exact_duplicates=split_groups(competition, exact_groups(scan)),
        near_duplicates=split_groups(competition, near_groups(scan, near)),
    )


def _class_counts(competition: Competition) -> dict[str, int]:
    if competition.task.numeric:
        return {}
    return {str(k): int(v) for k, v in competition.class_counts().items()}


def _numbers(competition: Competition) -> Numbers | None:
    if not competition.task.numeric:
        return None
    values = competition.task.targets(competition.labeled, competition.classes)
    if not len(values):
        return Numbers(0, *[float("nan")] * 5)
    moments = (values.min(), values.max(), np.median(values), values.mean(), values.std())
    return Numbers(len(np.unique(values)), *map(float, moments))


def _counts(values: pd.Series) -> dict[str, int]:
    counts = values.astype(str).value_counts()
    return {str(name): int(count) for name, count in counts.items()}


def _co_occurrence(competition: Competition) -> dict[str, dict[str, int]]:
    if competition.task.exclusive or competition.task.numeric:
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

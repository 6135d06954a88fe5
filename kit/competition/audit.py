"""Summarize a competition's images: sizes, formats, class counts, unreadable files, duplicates."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from kit.competition.duplicates import Duplicates, exact_groups, near_groups, split_groups
from kit.competition.images.decode import DEFAULTS, DecodeOptions
from kit.competition.images.pixels import is_deep
from kit.competition.samples import Competition
from kit.competition.scan import channel_moments, unreadable
from kit.competition.shares import several_classes, tied_classes
from kit.competition.train_and_test import TrainAndTest, train_and_test
from kit.config import NearConfig
from kit.errors import counted

ASPECTS = {  # the largest width / height of each shape
    1 / 2: "very tall",
    1 / 1.05: "tall",
    1.05: "square",
    2: "wide",
    np.inf: "very wide",
}


MIN_LEVELS = 4  # different values of a deep image: fewer show that its range is wrong
MIN_SPREAD = 1 / 255  # standard deviation of the channel with the most


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
class Distributions:
    """The labels that are distributions over the classes, over the labeled training images.

    Attributes:
        several: Images with shares of two or more classes.
        tied: Images in which two or more classes have the largest share.
        shares: The mean share of each class, in class order.
    """

    several: int
    tied: int
    shares: dict[str, float]


@dataclass(frozen=True)
class Audit:
    """The result of ``kit inspect``.

    Attributes:
        images: The number of files, of train, test and held-out sets together.
        unlabelled: The number of training images without a label.
        held_out: Name of a held-out set -> number of samples.
        class_counts: Training samples per class, in class order; of distributions, by the largest share;
            empty if labels are numbers.
        numbers: The labels, if they are numbers.
        distributions: The labels, if they are distributions.
        co_occurrence: Class -> class -> number of training images with both; empty for exclusive classes.
        unreadable: path -> reason.
        sizes: ``width x height`` -> count, most frequent first.
        aspects: Shape -> count.
        modes: Color mode -> count.
        formats: File suffix -> count.
        deep: Stored type of more than eight bits, such as ``uint16`` -> how its values become eight bits.
        nearly_flat: Paths of images that show almost nothing: see ``_nearly_flat``.
        several_frames: Paths of animations and files of several pages.
        frame: Which frame of those is used.
        mean: The mean of each channel (``channel_names``) of the readable training images, 0..1; images weigh
            the same.
        std: The standard deviation of each channel, likewise.
        against_test: Training against test images; None with too few of either.
    """

    competition: str
    images: int
    train: int
    unlabelled: int
    held_out: dict[str, int]
    test: int
    class_counts: dict[str, int]
    numbers: Numbers | None
    distributions: Distributions | None
    co_occurrence: dict[str, dict[str, int]]
    unreadable: dict[str, str]
    sizes: dict[str, int]
    aspects: dict[str, int]
    modes: dict[str, int]
    formats: dict[str, int]
    deep: dict[str, str]
    nearly_flat: list[str]
    several_frames: list[str]
    frame: str
    mean: list[float]
    std: list[float]
    exact_duplicates: Duplicates
    near_duplicates: Duplicates
    against_test: TrainAndTest | None = None

    @property
    def truncated(self) -> int:
        """The number of unreadable files that are truncated."""
        return sum("truncated" in why for why in self.unreadable.values())

    @property
    def channel_names(self) -> list[str]:
        """The names of the channels: R, G, B, or numbers from 1 if ``image.channels`` is not 3."""
        count = len(self.mean)
        return ["R", "G", "B"] if count == 3 else [str(number + 1) for number in range(count)]

    def as_dict(self) -> dict[str, object]:
        """Return the audit as ``--json`` prints it."""
        return asdict(self) | {"unreadable": list(self.unreadable)}


def audit(
    competition: Competition, scan: pd.DataFrame, near: NearConfig, options: DecodeOptions = DEFAULTS
) -> Audit:
    """Return the audit of a competition from its scan.

    Args:
        options: How the images were decoded.
    """
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
        distributions=_distributions(competition),
        co_occurrence=_co_occurrence(competition),
        unreadable=unreadable(scan),
        sizes=_counts(sizes),
        aspects=_counts(
            pd.cut(readable["width"] / readable["height"], [0, *ASPECTS], labels=list(ASPECTS.values()))
        ),
        modes=_counts(readable["mode"]),
        formats=_counts(readable["format"]),
        deep=_deep(readable["mode"], options),
        nearly_flat=list(readable["path"][_nearly_flat(readable)]),
        several_frames=list(readable["path"][readable["frames"] > 1]),
        frame=options.frame_text,
        mean=mean,
        std=std,
        exact_duplicates=split_groups(competition, exact_groups(scan)),
        near_duplicates=split_groups(competition, near_groups(scan, near)),
        against_test=train_and_test(competition, scan),
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


def _distributions(competition: Competition) -> Distributions | None:
    if not competition.task.soft:
        return None
    targets = competition.task.targets(competition.labeled, competition.classes)
    mean = targets.mean(axis=0) if len(targets) else np.full(targets.shape[1], np.nan)
    shares = dict(zip(competition.classes, map(float, mean), strict=True))
    return Distributions(several_classes(targets), tied_classes(targets), shares)


def _deep(modes: pd.Series, options: DecodeOptions) -> dict[str, str]:
    """Return stored type -> how many images have it, and which of its values are black and white."""
    told = {}
    for stored, count in _counts(modes[modes.map(is_deep)]).items():
        low, high = options.range_of(stored, "image.range")
        origin = "image.range" if options.has_range(stored) else "all of the type: image.range is not set"
        told[stored] = f"{counted(count, 'image')}, {low:g} is black and {high:g} white ({origin})"
    return told


def unranged(scan: pd.DataFrame, options: DecodeOptions) -> dict[str, int]:
    """Return stored type of more than eight bits, for which no range is set -> number of images."""
    deep = scan["mode"][scan["mode"].map(is_deep)]
    return {stored: count for stored, count in _counts(deep).items() if not options.has_range(stored)}


def _nearly_flat(images: pd.DataFrame) -> np.ndarray:
    """Return which images (N,) spread by less than one gray level, or are deep with few levels."""
    if images.empty:
        return np.zeros(0, dtype=bool)
    means, squares = channel_moments(images)
    spread = np.sqrt(np.maximum(squares - means**2, 0)).max(axis=1, initial=0)
    few = images["mode"].map(is_deep).to_numpy(dtype=bool) & (images["levels"] < MIN_LEVELS).to_numpy()
    flat: np.ndarray = (spread < MIN_SPREAD) | few
    return flat


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
    mean, square = (moments.mean(axis=0) for moments in channel_moments(images))
    return mean.round(4).tolist(), np.sqrt(np.maximum(square - mean**2, 0)).round(4).tolist()

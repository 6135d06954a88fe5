"""Find duplicates: byte-identical images, and near duplicates by perceptual hash."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from kit.competition.perceptual_hash import SYMMETRIES, THUMBNAIL, near_index_groups
from kit.competition.samples import Competition
from kit.config import NearConfig


@dataclass(frozen=True)
class Duplicates:
    """Groups of paths with the same image.

    Attributes:
        within_class: Training images with the same labels.
        across_classes: Training images with different labels.
        train_test: Training images, with images to predict or held out.
        test_test: Images to predict or held out.
    """

    within_class: list[list[str]]
    across_classes: list[list[str]]
    train_test: list[list[str]]
    test_test: list[list[str]]

    def titled(self) -> dict[str, list[list[str]]]:
        """Return the groups by title, for tables."""
        return {
            "same label": self.within_class,
            "different labels (conflict)": self.across_classes,
            "train and test": self.train_test,
            "test and test": self.test_test,
        }


def exact_groups(scan: pd.DataFrame) -> list[list[str]]:
    """Return the groups of paths of byte-identical readable images."""
    readable = scan[scan["error"] == ""]
    repeated = readable[readable.duplicated("digest", keep=False)]
    return [list(paths) for _, paths in repeated.groupby("digest", sort=False)["path"]]


def near_groups(scan: pd.DataFrame, near: NearConfig) -> list[list[str]]:
    """Return the groups of paths of near duplicates.

    Byte-identical images count as one image: if one of them is in a group, all are.
    """
    readable = scan[scan["error"] == ""]
    distinct = readable.drop_duplicates("digest")
    hashes = np.frombuffer(b"".join(distinct["hashes"]), dtype=np.uint64).reshape(-1, SYMMETRIES)
    thumbnails = np.frombuffer(b"".join(distinct["thumbnail"]), dtype=np.uint8)
    groups = near_index_groups(
        hashes,
        thumbnails.reshape(-1, THUMBNAIL, THUMBNAIL),
        distinct["flat"].to_numpy(dtype=bool),
        near.distance,
        near.rotations,
        near.mirrors,
    )
    digests = distinct["digest"].to_numpy()
    paths_of: dict[str, list[str]] = {}
    for path, digest in zip(readable["path"].tolist(), readable["digest"].tolist(), strict=True):
        paths_of.setdefault(digest, []).append(path)
    return [[path for i in group for path in paths_of[digests[i]]] for group in groups]


def split_groups(competition: Competition, groups: Iterable[Sequence[str]]) -> Duplicates:
    """Return groups of paths by where their images belong; a group may be in several lists."""
    labels = labels_by_path(competition.train, competition.label_columns)
    found = Duplicates([], [], [], [])
    for group in groups:
        train = [path for path in group if path in labels]
        test = [path for path in group if path not in labels]
        if any(labels[path] != labels[train[0]] for path in train):
            found.across_classes.append(train)
        elif len(train) > 1:
            found.within_class.append(train)
        if train and test:
            found.train_test.append(train + test)
        if len(test) > 1:
            found.test_test.append(test)
    return found


def labels_by_path(samples: pd.DataFrame, label_columns: list[str]) -> dict[str, set[tuple[object, ...]]]:
    """Return path -> the labels of its samples, as tuples of the label columns; None for a missing number."""
    found: dict[str, set[tuple[object, ...]]] = {}
    known = samples[label_columns].astype(object).where(samples[label_columns].notna(), None)
    rows = zip(*(known[name].tolist() for name in label_columns), strict=True)
    for path, row in zip(samples["path"].tolist(), rows, strict=True):
        found.setdefault(path, set()).add(row)
    return found

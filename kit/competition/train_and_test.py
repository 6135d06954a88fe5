"""Compare training and test images: by what a classifier can tell them apart (adversarial validation).

A logistic regression learns from sizes, colors and thumbnails whether an image is from the training or the
test set. Its area under the ROC curve, on images that it was not trained on, is 0.5 or less if both look
alike. Near 1, the validation images are not like the test images, and CV may be far from the leaderboard.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from kit.competition.perceptual_hash import THUMBNAIL
from kit.competition.samples import Competition
from kit.competition.scan import channel_moments

FEWEST = 20  # images of each set; with fewer, nothing is compared
MOST = 4000  # images of each set, drawn at random
PARTS = 5
STRENGTH = 0.01  # inverse of the regularization
SHOWN = 12  # test images that are least like the training images
ALIKE, APART = 0.6, 0.8


@dataclass(frozen=True)
class Difference:
    """The mean of a property in both sets, and their difference in standard deviations of both together."""

    name: str
    train: float
    test: float
    size: float


@dataclass(frozen=True)
class Unlike:
    """A test image that the classifier is sure of.

    Attributes:
        probability: Of being a test image.
        nearest: The training image with the most similar thumbnail.
    """

    path: str
    probability: float
    nearest: str


@dataclass(frozen=True)
class TrainAndTest:
    """How well training and test images can be told apart.

    Attributes:
        auc: Area under the ROC curve, on images that the classifier was not trained on.
        images: How many were compared.
        differences: The largest first.
        unlike: Test images least like training images, the surest first.
    """

    auc: float
    images: int
    differences: list[Difference]
    unlike: list[Unlike]

    @property
    def summary(self) -> str:
        """What the area means, as a sentence."""
        if self.auc < ALIKE:
            return "Training and test images look alike."
        largest = self.differences[0].name if self.differences else "thumbnails"
        if self.auc < APART:
            return f"Training and test images differ somewhat, most in {largest}."
        return (
            f"Training and test images can be told apart, most by {largest}: "
            "CV may be far from the leaderboard."
        )


def train_and_test(competition: Competition, scan: pd.DataFrame) -> TrainAndTest | None:
    """Return the comparison of training and test images; None with fewer than 20 of either.

    Args:
        scan: One row per image, as ``scan_images`` returns it.
    """
    readable = scan[scan["error"] == ""]
    in_train = readable["path"].isin(competition.train["path"])
    in_test = readable["path"].isin(competition.test["path"])
    sets = [readable[in_train & ~in_test], readable[in_test & ~in_train]]
    if min(map(len, sets)) < FEWEST:
        return None
    drawn = [each.sample(min(len(each), MOST), random_state=0) for each in sets]
    images = pd.concat(drawn, ignore_index=True)
    is_test = np.repeat([0, 1], [len(each) for each in drawn])
    properties, thumbnails = _properties(images), _thumbnails(images)
    probs = _probability_of_test(np.hstack([properties.to_numpy(), thumbnails]), is_test)
    from sklearn.metrics import roc_auc_score

    return TrainAndTest(
        auc=float(roc_auc_score(is_test, probs)),
        images=len(images),
        differences=_differences(properties, is_test == 1),
        unlike=_unlike(images["path"].to_numpy(), thumbnails, is_test == 1, probs),
    )


def _properties(images: pd.DataFrame) -> pd.DataFrame:
    """Return what a glance at each image shows: its size, colors and file."""
    mean, square = channel_moments(images)
    std = np.sqrt(np.maximum(square - mean**2, 0))
    channels = mean.shape[1]
    names = ["red", "green", "blue"] if channels == 3 else [f"channel {c + 1}" for c in range(channels)]
    pixels = images["width"] * images["height"]
    found = {
        "width in px": images["width"],
        "height in px": images["height"],
        "width / height": images["width"] / images["height"],
        "bytes per pixel": images["bytes"] / pixels,
        **{f"mean of {name}": mean[:, c] for c, name in enumerate(names)},
        **{f"spread of {name}": std[:, c] for c, name in enumerate(names)},
    }
    for name in sorted(images["format"].unique())[1:]:
        found[f"share of {name}"] = images["format"] == name
    return pd.DataFrame(found).astype(np.float64)


def _thumbnails(images: pd.DataFrame) -> np.ndarray:
    """Return gray thumbnails with normalized contrast, (N, 256), -1..1."""
    pixels = np.frombuffer(b"".join(images["thumbnail"]), np.uint8).reshape(-1, THUMBNAIL**2)
    return pixels / 127.5 - 1.0


def _probability_of_test(features: np.ndarray, is_test: np.ndarray) -> np.ndarray:
    """Return the probability of being a test image, from classifiers that did not see the image, (N,)."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(
        StandardScaler(), LogisticRegression(C=STRENGTH, class_weight="balanced", max_iter=500)
    )
    parts = StratifiedKFold(PARTS, shuffle=True, random_state=0)
    probs = cross_val_predict(model, features, is_test, cv=parts, method="predict_proba")
    return np.asarray(probs[:, 1])


def _differences(properties: pd.DataFrame, is_test: np.ndarray) -> list[Difference]:
    train, test = properties[~is_test], properties[is_test]
    spread = np.sqrt((train.var() + test.var()) / 2).replace(0.0, np.inf)
    sizes = (test.mean() - train.mean()) / spread
    found = [
        Difference(str(name), float(train[name].mean()), float(test[name].mean()), float(sizes[name]))
        for name in properties
    ]
    return sorted(found, key=lambda each: -abs(each.size))


def _unlike(
    paths: np.ndarray, thumbnails: np.ndarray, is_test: np.ndarray, probs: np.ndarray
) -> list[Unlike]:
    """Return the test images of the highest probability, each with the training image nearest to it."""
    rows = np.flatnonzero(is_test)
    rows = rows[np.argsort(-probs[rows], kind="stable")][:SHOWN]
    train_paths, train = paths[~is_test], thumbnails[~is_test]
    distances = (train**2).sum(axis=1) - 2 * thumbnails[rows] @ train.T  # squared, less a constant per row
    pairs = zip(rows, train_paths[distances.argmin(axis=1)], strict=True)
    return [Unlike(str(paths[row]), float(probs[row]), str(nearest)) for row, nearest in pairs]

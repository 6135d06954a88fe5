"""Find images to review: those with the highest loss, and those whose label is likely wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kit.metrics import EPSILON
from kit.metrics.likelihoods import divergences
from kit.tasks import Task
from kit.training.confident_learning import wrong_classes, wrong_flags

SHOWN_SHARES = 3  # the largest shares of an image
LEAST_SHOWN = 0.005  # smaller shares are not shown


@dataclass(frozen=True)
class HardImage:
    """An image with a high loss.

    Attributes:
        path: Relative to the competition's folder; None if unknown.
        label: The labeled classes, separated by blanks, their shares, or the number.
        decided: The predicted classes, separated by blanks, their shares, or the number.
        loss: The loss of the image, as ``losses`` returns it.
        label_prob: The probability of the labeled class; None unless classes are exclusive.
        decided_prob: The probability of the predicted class; None unless classes are exclusive.
    """

    id: str
    path: str | None
    label: str
    decided: str
    loss: float
    label_prob: float | None = None
    decided_prob: float | None = None


@dataclass(frozen=True)
class Suspect:
    """A label that is likely wrong.

    Attributes:
        label: The labeled class; for multi-label tasks, the class that is wrongly present or absent.
        suggested: The class that is more likely; for multi-label tasks ``absent`` or ``present``.
        margin: The probability of the suggestion minus that of the label.
        twin: The path of a byte-identical image that has another label, or None.
    """

    id: str
    path: str | None
    label: str
    suggested: str
    margin: float
    twin: str | None


def losses(targets: np.ndarray, probs: np.ndarray, task: Task) -> np.ndarray:
    """Return each image's log loss, (N,); for multi-label tasks the mean over classes.

    For numbers: the absolute error. For distributions: the KL divergence, because the log loss of a right
    prediction is high where people disagree.
    """
    if task.numeric:
        return np.asarray(np.abs(probs[:, 0].astype(np.float64) - targets[:, 0]))
    if task.soft:
        return divergences(targets, probs)
    clipped = np.clip(probs.astype(np.float64), EPSILON, 1 - EPSILON)
    if task.exclusive:
        return np.asarray(-np.log(clipped[np.arange(len(targets)), targets]))
    return np.asarray(-np.log(np.where(targets == 1, clipped, 1 - clipped)).mean(axis=1))


def loss_name(task: Task) -> str:
    """Return what ``losses`` computes."""
    if task.numeric:
        return "absolute error"
    return "KL divergence" if task.soft else "log loss"


def hardest(
    ids: Sequence[str],
    paths: Mapping[str, str],
    targets: np.ndarray,
    probs: np.ndarray,
    classes: Sequence[str],
    task: Task,
    limit: int,
) -> list[HardImage]:
    """Return the images with the highest loss, the highest first."""
    loss, decided = losses(targets, probs, task), probs if task.soft else task.decide(probs)
    images = []
    for row in np.argsort(-loss, kind="stable")[:limit]:
        label, predicted = (_names(each[row], classes, task) for each in (targets, decided))
        stated = (
            (float(probs[row, int(targets[row])]), float(probs[row, int(decided[row])]))
            if task.exclusive and not task.soft
            else (None, None)
        )
        images.append(HardImage(ids[row], paths.get(ids[row]), label, predicted, float(loss[row]), *stated))
    return images


def _names(value: np.ndarray, classes: Sequence[str], task: Task) -> str:
    if task.numeric:
        return f"{value[0]:.8g}"
    if task.soft:
        order = np.argsort(-value, kind="stable")[:SHOWN_SHARES]
        return ", ".join(f"{classes[c]} {value[c]:.2f}" for c in order if value[c] >= LEAST_SHOWN)
    if task.exclusive:
        return classes[int(value)]
    return " ".join(name for name, given in zip(classes, value, strict=True) if given == 1)


def suspects(
    ids: Sequence[str],
    paths: Mapping[str, str],
    twins: Mapping[str, str],
    targets: np.ndarray,
    probs: np.ndarray,
    classes: Sequence[str],
    task: Task,
) -> list[Suspect]:
    """Return the labels that are likely wrong, the most likely first.

    Confident learning (Northcutt et al. 2021) on OOF probabilities: a class is a candidate for an image if
    its probability is at least the mean over the images labeled with it. A label is suspect if another
    candidate is more probable. For numbers there are no such candidates. Images with a byte-identical twin of
    another label come first, since one of the two labels must be wrong. For distributions nothing is
    returned: people who disagree about an image, or about its twin, are no error.

    Args:
        paths: Id -> path.
        twins: Id -> the path of a byte-identical image that has another label.
    """
    if task.soft:
        return []
    find = {"class": _suspect_classes, "classes": _suspect_labels, "number": _no_suspects}[task.target]
    found = [
        Suspect(ids[row], paths.get(ids[row]), label, suggested, margin, twins.get(ids[row]))
        for row, label, suggested, margin in find(targets, probs.astype(np.float64), classes)
    ]
    known = {suspect.id for suspect in found}
    rest = [row for row, sample_id in enumerate(ids) if sample_id in twins and sample_id not in known]
    for row in rest:
        label = _names(targets[row], classes, task)
        own = float(probs[row, targets[row]] if task.exclusive else 0.0)
        best = int(probs[row].argmax())
        suggested = classes[best] if task.exclusive and classes[best] != label else "as its twin"
        margin = float(probs[row, best]) - own if task.exclusive else 0.0
        found.append(Suspect(ids[row], paths.get(ids[row]), label, suggested, margin, twins[ids[row]]))
    return sorted(found, key=lambda suspect: (suspect.twin is None, -suspect.margin, suspect.id))


def _no_suspects(
    targets: np.ndarray, probs: np.ndarray, classes: Sequence[str]
) -> list[tuple[int, str, str, float]]:
    """Return nothing: a number far from its prediction is among the images with the largest error."""
    return []


def _suspect_classes(
    targets: np.ndarray, probs: np.ndarray, classes: Sequence[str]
) -> list[tuple[int, str, str, float]]:
    """Return (row, label, suggestion, margin) for exclusive classes."""
    errors = wrong_classes(targets, probs)
    return [
        (row, classes[targets[row]], classes[suggested], margin)
        for row, suggested, margin in zip(*(each.tolist() for each in errors), strict=True)
    ]


def _suspect_labels(
    targets: np.ndarray, probs: np.ndarray, classes: Sequence[str]
) -> list[tuple[int, str, str, float]]:
    """Return (row, class, absent or present, margin) for multi-label tasks."""
    errors = wrong_flags(targets, probs)
    return [
        (row, classes[c], "absent" if targets[row, c] == 1 else "present", margin)
        for row, c, margin in zip(*(each.tolist() for each in errors), strict=True)
    ]

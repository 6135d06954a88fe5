"""What an experiment learned from besides its labels: added images, changed labels, teachers beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from kit.errors import KitError
from kit.evaluation.oof_with_labels import config_of
from kit.inference.teachers import teachers_of
from kit.storage.run_artifacts import read_scores
from kit.storage.workspace import RunFolder, Workspace
from kit.training.feature_cache import is_head_only
from kit.training.run_state import read_training_data
from kit.training.teachers import TeacherUse, teacher_uses
from kit.training.trained_folds import TrainedFold, trained_folds

MEGABYTE = 1_000_000


@dataclass(frozen=True)
class PseudoLabeledClass:
    """The pseudo-labels of one class, over all folds.

    Attributes:
        added: The images added to a fold, on average.
        checked: The validation images to which the same rule gives this class; their true label is known.
        right: How many of these have it.
    """

    name: str
    added: float
    checked: int
    right: int


@dataclass(frozen=True)
class ModelFacts:
    """An experiment as a teacher or a student.

    Attributes:
        role: ``student``, or the key of the config that names the teacher.
        cv: Its out-of-fold score; None if it is not scored yet.
        megabytes: The size of the weights of one fold.
        images_per_second: Validated images per second of training; None if only the head ran.
    """

    role: str
    label: str
    cv: float | None
    megabytes: float
    images_per_second: float | None


@dataclass(frozen=True)
class Taught:
    """What an experiment learned from besides its labels.

    Attributes:
        relabeled: The labels corrected in each fold; empty without ``train.relabel`` and ``train.drop``.
        dropped: The images dropped in each fold.
        classes: The pseudo-labels by class.
        duplicates: The images left out in each fold, as duplicates of its validation images.
        models: The student, then its teachers that still exist; empty without teachers.
    """

    relabeled: list[int]
    dropped: list[int]
    classes: list[PseudoLabeledClass]
    duplicates: list[int]
    models: list[ModelFacts]


def taught_by(run: RunFolder, workspace: Workspace, cv: float) -> Taught | None:
    """Return what an experiment learned from besides its labels; None if nothing, and for a blend.

    Args:
        cv: The experiment's out-of-fold score.
    """
    if not run.config.exists() or run.blend.exists():
        return None
    config = config_of(run)
    uses, train = teacher_uses(config), config.train
    if not uses and train.relabel is None and train.drop is None:
        return None
    folds = _folds(run)
    added = [fold.values["pseudo_labels"] for fold in folds if "pseudo_labels" in fold.values]
    facts = [replace(_facts("student", run), cv=cv)] if uses else []
    for use in uses:
        facts += [_facts(use.key, teacher) for teacher in _present(use, run, workspace)]
    return Taught(
        relabeled=[fold.values["relabeled"] for fold in folds if "relabeled" in fold.values],
        dropped=[fold.values["dropped"] for fold in folds if "dropped" in fold.values],
        classes=_by_class([each["classes"] for each in added]),
        duplicates=[each["duplicates"] for each in added],
        models=facts,
    )


def _present(use: TeacherUse, run: RunFolder, workspace: Workspace) -> list[RunFolder]:
    """Return the teachers whose folders are still there."""
    try:
        return teachers_of(use, run, workspace)
    except KitError:
        return []


def _folds(run: RunFolder) -> list[TrainedFold]:
    found = trained_folds(run, read_training_data(run)[0], verify=False)
    return [found[k] for k in sorted(found)]


def _by_class(counts: Sequence[dict[str, list[int]]]) -> list[PseudoLabeledClass]:
    """Return the counts of all folds, by class."""
    names = dict.fromkeys(name for of_fold in counts for name in of_fold)
    totals = {
        name: [sum(values) for values in zip(*(c.get(name, [0, 0, 0]) for c in counts), strict=True)]
        for name in names
    }
    return [
        PseudoLabeledClass(name, added / len(counts), checked, right)
        for name, (added, checked, right) in totals.items()
    ]


def _facts(role: str, run: RunFolder) -> ModelFacts:
    folds = _folds(run)
    speeds = [float(each.values.get("validated_per_second", 0)) for each in folds]
    whole = speeds and all(speeds) and not is_head_only(config_of(run))
    scores = read_scores(run)[0] if run.metrics.exists() else {}
    size = run.fold(0).model.stat().st_size if run.fold(0).model.exists() else 0
    speed = sum(speeds) / len(speeds) if whole else None
    return ModelFacts(role, run.label, scores.get("cv"), size / MEGABYTE, speed)

"""Predict with the teachers of an experiment, and write what each of its folds learns from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kit.config import Config
from kit.config.load import load_stored_config
from kit.errors import KitError, counted, first_few
from kit.inference.experiment_models import open_models
from kit.predictions import Origin, Predictions, load_predictions
from kit.runtime.deadline import Deadline
from kit.runtime.progress import Progress
from kit.storage.locks import exclusive_lock
from kit.storage.run_artifacts import read_blend
from kit.storage.workspace import RunFolder, Workspace
from kit.training.data import TrainingData
from kit.training.pseudo_labels import NEW, unlabeled_images
from kit.training.teachers import TeacherUse, images_to_teach, outdated_use, teacher_uses
from kit.training.trained_folds import models_digest, trained_fold
from kit.training.warm_start import check_same_fold

if TYPE_CHECKING:
    from kit.engine.data.datasets import ImageSet


def write_teacher_predictions(
    config: Config,
    workspace: Workspace,
    data: TrainingData,
    folds: Sequence[int],
    progress: Progress,
    deadline: Deadline,
    fresh: bool = False,
) -> None:
    """Write what the teachers of an experiment predict for its folds; predictions that are current stay.

    Args:
        folds: The folds that are to be trained.
        fresh: Whether these folds are trained again.

    Raises:
        Interrupted: The deadline has passed; a later call continues.
        KitError: A teacher is missing, was trained on other folds, or is the experiment itself; there is no
            image without a label; or other folds of the experiment have learned from earlier models.
    """
    run, uses = workspace.run(config.competition.name, config.name), teacher_uses(config)
    if not uses or not folds:
        return
    _check_unlabeled(config, data, progress)
    by_use = {use: teachers_of(use, run, workspace) for use in uses}
    for use, teachers in by_use.items():
        for teacher in teachers:
            for k in folds:
                check_same_fold(teacher, data, k, use.key)
    _refuse_other_models(run, by_use, sorted(set(range(data.folds.models)) - set(folds if fresh else ())))
    writer = _Writer(run, config, workspace, data, progress, deadline)
    with exclusive_lock(run.lock("teachers"), "predicting with the teachers"):
        for use, teachers in by_use.items():
            writer.write(use, teachers, folds)


def teachers_of(use: TeacherUse, run: RunFolder, workspace: Workspace) -> list[RunFolder]:
    """Return the experiment that is a teacher, or the experiments in a blend, without repetition.

    The weights of a blend are fitted on all folds, so its experiments count equally.

    Raises:
        KitError: There is no such run, it belongs to another competition, it is or contains the student, or a
            member is a file of another tool.
    """
    found: dict[str, RunFolder] = {}
    try:
        pending = [workspace.find_run(use.spec)]
    except KitError as error:
        problem = f"names '{use.spec}': {error.problem}"
        raise KitError(use.key, problem, error.rule, error.next, code=error.code) from error
    while pending:
        teacher = pending.pop(0)
        if teacher.label == run.label:
            raise KitError(
                use.key,
                f"{use.spec} is the experiment itself, or contains it",
                "A teacher is another experiment",
                "Give this experiment another name.",
                code="teacher_is_student",
            )
        if teacher.competition != run.competition:
            raise KitError(
                use.key,
                f"{teacher.label} belongs to another competition",
                "A teacher has the same images, folds and classes",
                code="competitions_differ",
            )
        if teacher.training_data.exists():
            found[teacher.label] = teacher
            continue
        pending += [_member(use, teacher, label, workspace) for label in read_blend(teacher)[0]["members"]]
    return list(found.values())


def _member(use: TeacherUse, blend: RunFolder, label: str, workspace: Workspace) -> RunFolder:
    try:
        return workspace.find_run(label)
    except KitError as error:
        raise KitError(
            use.key,
            f"{blend.label} has the member {label}, which is no experiment here",
            "The members of a teacher predict the images again, so files of other tools do not suffice",
            "Choose an experiment, or a blend of experiments.",
            code="teacher_without_models",
        ) from error


def teacher_models(teachers: Sequence[RunFolder], k: int) -> str:
    """Return a digest of the teachers' models of fold ``k``; an untrained fold is left out."""
    return models_digest([f for each in teachers if (f := trained_fold(each, k, verify=False)) is not None])


def _check_unlabeled(config: Config, data: TrainingData, progress: Progress) -> None:
    """Warn of test images that cannot be read; refuse pseudo-labels without images to label."""
    pseudo = config.train.pseudo_labels
    if pseudo is None:
        return
    scan, test = data.opened.scan, set(data.competition.test["path"])
    unreadable = sorted(test & set(scan["path"][scan["error"] != ""]))
    if unreadable and pseudo.images != "unlabelled":
        many = counted(len(unreadable), "test image cannot", "test images cannot")
        progress.warn(f"{many} be read and get no pseudo-label ({first_few(unreadable)})")
    if not len(unlabeled_images(data, pseudo.images)):
        what = {"test": "test image", "unlabelled": "training image without a label"}
        raise KitError(
            "train.pseudo_labels",
            f"finds no {what.get(pseudo.images, 'test image and no training image without a label')}",
            "Pseudo-labels need images without a label",
            "Remove it, or set competition.test, or `competition.unlisted: unlabelled`.",
            code="no_unlabeled_images",
        )


def _refuse_other_models(
    run: RunFolder, by_use: dict[TeacherUse, list[RunFolder]], folds: Sequence[int]
) -> None:
    """Refuse teachers that were trained again after they taught one of these folds."""
    for k in folds:
        fold = trained_fold(run, k, verify=False) if run.fold(k).done.exists() else None
        now = {use: teacher_models(teachers, k) for use, teachers in by_use.items()}
        if fold is not None and (use := outdated_use(fold, now)) is not None:
            raise KitError(
                use.key,
                f"{use.spec} was trained again after fold {k} of {run.label} had learned from it",
                "All folds of an experiment learn from the same teachers",
                "Train again with --fresh, or restore the teacher's models.",
                code="teacher_changed",
            )


@dataclass(frozen=True)
class _Writer:
    """Writes the predictions of teachers for the folds of one experiment, the student."""

    run: RunFolder
    config: Config
    workspace: Workspace
    data: TrainingData
    progress: Progress
    deadline: Deadline

    def write(self, use: TeacherUse, teachers: Sequence[RunFolder], folds: Sequence[int]) -> None:
        """Write the mean prediction of teachers for each fold, unless it is current."""
        images = {k: images_to_teach(use, self.config, self.data, k) for k in folds}
        origins = {k: self._origin(use, teachers, images[k], k) for k in folds}
        todo = [k for k in folds if not _is_current(self.run.teacher(use.name, k), origins[k])]
        means: dict[int, np.ndarray] = {}
        problems: dict[int, dict[int, str]] = {k: {} for k in todo}
        for teacher in teachers if todo else ():
            config = load_stored_config(teacher.config)
            _refuse_other_columns(use, teacher, config, self.config)
            models = open_models(config, teacher, self.workspace, self.data, self.progress, self.deadline)
            for k in todo:
                found = replace(models, partial=self.run.partial_predictions).predict_fold(
                    k, images[k], origins[k].images
                )
                means[k] = means.get(k, 0.0) + found.probs.astype(np.float64) / len(teachers)
                problems[k] |= found.problems
        for k in todo:
            if self.run.teacher(use.name, k).exists():
                self.progress.note(f"{use.key}: {use.spec} or the images have changed; fold {k} learns anew")
            self._save(use, k, images[k], means[k], problems[k], origins[k])
        self.run.remove_partial_predictions()

    def _origin(self, use: TeacherUse, teachers: Sequence[RunFolder], images: ImageSet, k: int) -> Origin:
        """Return the metadata of the predictions for fold ``k``."""
        views = (" ".join(load_stored_config(teacher.config).predict.labels) for teacher in teachers)
        identity = use.identity(self.run, k)
        return Origin(
            kind="teacher",
            task=self.data.competition.task.name,
            experiment=self.run.label,
            folds=self.data.folds.fingerprint,
            tta=tuple(views),
            models=teacher_models(teachers, k),
            images=self._digest(images),
            part=identity.part,
        )

    def _digest(self, images: ImageSet) -> str:
        scan = self.data.opened.scan
        digest_of = dict(zip(scan["path"].tolist(), scan["digest"].tolist(), strict=True))
        pairs = zip(images.ids, images.pictures, strict=True)
        rows = [f"{sample_id}\0{digest_of[picture.path]}" for sample_id, picture in pairs]
        if images.cells is not None:
            cells = images.cells.itertuples(index=False, name=None)
            rows = [f"{row}\0{values}" for row, values in zip(rows, cells, strict=True)]
        rows.sort()
        return hashlib.sha256("\n".join(rows).encode(errors="surrogatepass")).hexdigest()[:16]

    def _save(
        self,
        use: TeacherUse,
        k: int,
        images: ImageSet,
        probs: np.ndarray,
        problems: dict[int, str],
        origin: Origin,
    ) -> None:
        """Write the predictions for fold ``k``, without images that cannot be read.

        Raises:
            KitError: A labeled image cannot be read.
        """
        labeled = [row for row in problems if not images.ids[row].startswith(NEW)]
        if labeled:
            raise KitError(
                images.pictures[labeled[0]].path,
                problems[labeled[0]],
                next="Fix the file, then run the command again.",
                code="image_unreadable",
            )
        if problems:
            names = first_few([images.pictures[row].path for row in sorted(problems)])
            count = counted(len(problems), "image without a label cannot", "images without a label cannot")
            self.progress.warn(
                f"{count} be read and {'is' if len(problems) == 1 else 'are'} not used ({names})"
            )
        rows = np.array([row for row in range(len(images)) if row not in problems], dtype=np.int64)
        competition = self.data.competition
        found = competition.task.normalized(probs[rows])
        ids = tuple(images.ids[row] for row in rows)
        Predictions(ids, competition.classes, found, origin).save(self.run.teacher(use.name, k))


def _refuse_other_columns(use: TeacherUse, teacher: RunFolder, config: Config, student: Config) -> None:
    """Refuse a teacher that reads columns that the student's images come without."""
    own = [each.name for each in student.model.tabular]
    lacking = [each.name for each in config.model.tabular if each.name not in own]
    if lacking:
        raise KitError(
            use.key,
            f"{teacher.label} reads {first_few(lacking)} of each image, which this experiment does not read",
            "A teacher predicts the images as this experiment reads them",
            "Add the columns to model.tabular, or choose another teacher.",
            code="teacher_reads_columns",
        )


def _is_current(path: Path, origin: Origin) -> bool:
    """Return whether a file holds the predictions of this origin, undamaged."""
    try:
        return path.exists() and load_predictions(path, origin.identity, "kit train CONFIG").origin == origin
    except KitError:
        return False

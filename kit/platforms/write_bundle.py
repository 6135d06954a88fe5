"""Write a bundle: everything that an offline notebook needs to predict a hidden test folder with a run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kit import __version__
from kit.competition.images.files import ID_STYLES, ImageFolder
from kit.competition.images.readers import needed_extras
from kit.competition.samples import Competition
from kit.config import Config
from kit.ensemble.new_images import (
    classes_of_run,
    experiments_of,
    members_of_blend,
    needs_oof,
    refuse_other_views,
)
from kit.errors import KitError
from kit.evaluation.oof_with_labels import config_of
from kit.platforms.hidden_test import SAMPLE
from kit.platforms.onnx_models import refuse_metadata, require_onnx, write_onnx_models
from kit.platforms.platform_file import DEFAULT, Platform, compare, read_platform
from kit.platforms.record import NAME, BundleRecord
from kit.platforms.scripts import notebook, script
from kit.platforms.wheels import download_wheels, write_kit_wheel
from kit.runtime.deadline import parse_time_limit
from kit.runtime.displayed import Displayed
from kit.runtime.progress import SILENT, Progress
from kit.storage.files import write_text
from kit.storage.run_artifacts import read_blend
from kit.storage.workspace import RunFolder, Workspace
from kit.submission.inputs import SubmissionInputs
from kit.submission.pooling import submitted_ids
from kit.submission.verify import verify
from kit.training.run_state import read_training_data


@dataclass(frozen=True)
class Bundle(Displayed):
    """A written bundle.

    Attributes:
        folder: The bundle.
        files: The number of its files.
        bytes: Their size.
        wheels: The names of the wheels.
        dataset: The address of the dataset at Kaggle; empty if it was not uploaded.
    """

    run: RunFolder
    folder: Path
    platform: str
    files: int
    bytes: int
    wheels: list[str]
    dataset: str = ""

    def as_dict(self) -> dict[str, object]:
        """Return the result as ``--json`` prints it."""
        return {
            "experiment": self.run.label,
            "folder": str(self.folder),
            "platform": self.platform,
            "files": self.files,
            "bytes": self.bytes,
            "wheels": self.wheels,
            "dataset": self.dataset or None,
        }


def write_bundle(
    run: RunFolder,
    workspace: Workspace,
    folder: Path,
    platform: str = DEFAULT,
    time_limit: str | None = None,
    competition: Competition | None = None,
    progress: Progress = SILENT,
    onnx: bool = False,
) -> Bundle:
    """Write the bundle of a run, completely or not at all; an earlier bundle in the folder is replaced.

    Args:
        platform: The platform whose notebook runs the bundle.
        time_limit: The time limit of a prediction there.
        competition: The run's competition, if the caller has loaded it already.
        onnx: Also write the models as ONNX, for programs without kit.

    Raises:
        KitError: The run cannot predict or submit, the platform is unknown, or the folder is no bundle.
    """
    if time_limit is not None:
        parse_time_limit(time_limit)
    if onnx:
        require_onnx()
        refuse_metadata(run, workspace)
    chosen = read_platform(platform)
    _refuse_other_folder(folder)
    config = config_of(run)
    inputs = SubmissionInputs.of(run, config, workspace, competition)
    _refuse_other_task(inputs)
    for experiment in experiments_of(run, workspace):
        refuse_other_views(experiment, config_of(experiment))
    progress.stage("bundle", f"{run.label} for {chosen.name}")
    if config.competition.leaks == "use":
        progress.warn("a notebook has no training images: known labels of leaked test images are not used")
    record = _record(inputs, workspace, chosen, time_limit)
    with _whole_folder(folder) as draft:
        _copy_runs(run, workspace, draft)
        _copy_sample(inputs, draft / SAMPLE)
        _write_wheels(inputs.competition, chosen, draft / "wheels", progress)
        if onnx:
            write_onnx_models(run, workspace, draft / "onnx", record.postprocessing, progress)
        write_text(draft / "predict.py", script())
        write_text(draft / "predict.ipynb", notebook(record.data))
        record.write(draft)
    files = [path for path in folder.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    wheels = sorted(path.name for path in (folder / "wheels").iterdir())
    return Bundle(run, folder, chosen.name, len(files), size, wheels)


def _refuse_other_folder(folder: Path) -> None:
    """Refuse to replace anything but a bundle."""
    if not folder.exists() or (folder.is_dir() and ((folder / NAME).is_file() or not any(folder.iterdir()))):
        return
    raise KitError(
        folder,
        "exists, and is no bundle",
        "kit does not overwrite files that it did not write",
        "Choose another --out, or move it away.",
        code="folder_not_empty",
    )


def _refuse_other_task(inputs: SubmissionInputs) -> None:
    if inputs.task is not inputs.competition.task:
        raise KitError(
            "submission.pool",
            "makes rows with several classes from images with one",
            "A bundle predicts rows of the competition's own task",
            "Run `kit submit` instead.",
            code="bundle_unsupported",
        )


def _record(
    inputs: SubmissionInputs, workspace: Workspace, platform: Platform, time_limit: str | None
) -> BundleRecord:
    run, competition = inputs.run, inputs.competition
    postprocessing, _ = verify(inputs, workspace, run.label)
    classes = classes_of_run(run, workspace)
    prior = _prior(inputs, workspace)
    assert classes == inputs.test.classes, "the models have made the predictions"
    return BundleRecord(
        run=run.label,
        kit=__version__,
        platform=platform.name,
        data=Path(inputs.config.competition.data).name,
        classes=classes,
        prior=tuple(prior.tolist()),
        postprocessing=postprocessing.as_list(),
        kind=inputs.form.kind.name,
        header=inputs.form.header,
        placeholder=submitted_ids(inputs.pool, competition),
        ids_from_folder=_ids_from_folder(inputs.config, competition),
        time_limit=time_limit,
    )


def _prior(inputs: SubmissionInputs, workspace: Workspace) -> np.ndarray:
    """Return what ``kit predict`` predicts for an unreadable image, (C,)."""
    from kit.folds.table import HELD_OUT, read_folds

    competition = inputs.competition
    folds = read_folds(workspace.folds(competition.name), competition.label_columns)
    held_out = (folds.table[folds.columns] == HELD_OUT).all(axis=1)
    samples = folds.table[~held_out]
    samples = samples[competition.task.labeled(samples, competition.classes)]
    return competition.task.prior(
        competition.task.targets(samples, competition.classes), len(competition.classes)
    )


def _ids_from_folder(config: Config, competition: Competition) -> bool:
    """Return whether the names of the test images give the ids of the list, so that it may be missing."""
    source = config.competition.test
    if source is None or source.ids not in ID_STYLES or source.ids == "folder" or source.row is not None:
        return False
    paths = ImageFolder.open(competition.root, source.folder, source.ids).paths
    test = competition.test
    return all(paths.get(name) == path for name, path in zip(test["id"], test["path"], strict=True))


@contextmanager
def _whole_folder(folder: Path) -> Iterator[Path]:
    """Yield a draft of a folder: it becomes the folder if the block succeeds, and is removed otherwise."""
    draft = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        draft.mkdir(parents=True)
        yield draft
        shutil.rmtree(folder, ignore_errors=True)
        draft.replace(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _copy_runs(run: RunFolder, workspace: Workspace, bundle: Path) -> None:
    """Copy what predicts: models, configs, blends, and what a blend's method is fitted on again."""
    target = RunFolder(bundle / "runs" / run.label)
    if run.config.exists():
        folds = range(read_training_data(run)[0])
        files = [run.config, run.training_data, run.precision, run.blend]
        files += [file for k in folds for file in (run.fold(k).model, run.fold(k).done)]
        if config_of(run).predict.knn is not None:
            files += [run.fold(k).embeddings for k in folds]
        _copy(files, run.path, target.path)
        return
    _copy([run.blend], run.path, target.path)
    members = members_of_blend(run, workspace)
    for member in members:
        _copy_runs(member, workspace, bundle)
    if needs_oof(read_blend(run)[0]):
        _copy([workspace.folds(run.competition)], workspace.root, bundle)
        for member in members:
            _copy([member.oof], member.path, bundle / "runs" / member.label)


def _copy_sample(inputs: SubmissionInputs, target: Path) -> None:
    """Copy the sample submission and the table of class codes."""
    submission, root = inputs.config.submission, inputs.competition.root
    assert submission is not None, "there is a submission format"
    codes = None if submission.codes is None else submission.codes.file
    _copy([root / name for name in (submission.sample, codes) if name], root, target)


def _copy(files: list[Path], root: Path, target: Path) -> None:
    """Copy the files that exist to the same place below another folder."""
    for file in files:
        if file.is_file():
            copy = target / file.relative_to(root)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)


def _write_wheels(competition: Competition, platform: Platform, folder: Path, progress: Progress) -> None:
    """Write kit's wheel, and those of the packages that the platform lacks."""
    write_kit_wheel(folder)
    found = compare(platform, needed_extras(competition.test["path"]))
    for version, wanted in found.other.items():
        progress.warn(f"{platform.name} ships {version}, and kit asks for {wanted}: not tested together")
    download_wheels(found.lacking, platform, folder)

"""Write an experiment's out-of-fold, held-out and test predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kit.config import Component, Config
from kit.config.load import load_stored_config
from kit.errors import KitError
from kit.inference.experiment_models import ExperimentModels, ViewPredictions, open_models
from kit.predictions import Kind, Origin, load_held_out, load_oof, load_test
from kit.runtime.deadline import Deadline
from kit.runtime.progress import SILENT, Progress
from kit.storage.files import text_digest, write_text
from kit.storage.locks import exclusive_lock
from kit.storage.workspace import RunFolder, Workspace
from kit.tasks import tasks
from kit.training.data import TrainingData, prepare
from kit.training.run_state import refuse_other_data, refuse_other_folds
from kit.training.trained_folds import all_trained_folds, models_digest

WHAT_CHANGED = {
    "models": "the models",
    "folds": "the folds",
    "images": "the images",
    "labels": "the labels",
    "tta": "the views",
    "task": "the task",
}  # fields of ``Origin`` that decide whether predictions are up to date


def predict(
    run: RunFolder,
    workspace: Workspace,
    tta: Sequence[Component] | None = None,
    progress: Progress = SILENT,
    deadline: Deadline | None = None,
    merge: str | None = None,
    data: TrainingData | None = None,
    embeddings: bool = False,
) -> bool:
    """Write the OOF, held-out and test predictions of an experiment; return False if they exist already.

    An unreadable test image gets the class prior of the training labels; its id is written to the file's
    metadata.

    Args:
        tta: Views to merge instead of the config's.
        merge: Merge method instead of the config's.
        deadline: Time limit; default: none. Partial predictions are stored until all files are written, so a
            later call continues where this one stopped.
        embeddings: Also write the embeddings of all images by each fold's model.

    Raises:
        Interrupted: The deadline has passed.
        KitError: A fold is not trained yet, a view does not exist, or another process is predicting.
    """
    config, data, origin = _prepared(run, workspace, tta, merge, progress, data)
    reason = _why_predict(run, origin, data)
    if reason is None and not embeddings:
        return False
    if reason:
        progress.note(f"predicting again: {reason}")
    with exclusive_lock(run.lock("predict"), "predicting"):
        models = open_models(config, run, workspace, data, progress, deadline)
        if reason is not None:
            _write_predictions(models, workspace, origin)
        for k in range(models.num_models) if embeddings else ():
            models.embeddings(k)
        run.remove_partial_predictions()
    return reason is not None


def predict_by_view(
    run: RunFolder,
    workspace: Workspace,
    tta: Sequence[Component],
    progress: Progress = SILENT,
    deadline: Deadline | None = None,
    data: TrainingData | None = None,
) -> list[ViewPredictions]:
    """Return the OOF predictions of an experiment with each view alone; partial predictions are stored.

    A view of several images is merged with the config's method.

    Raises:
        Interrupted: The deadline has passed.
        KitError: A fold is not trained yet, a view does not exist, or another process is predicting.
    """
    config, data, origin = _prepared(run, workspace, tta, None, progress, data)
    with exclusive_lock(run.lock("predict"), "predicting"):
        models = open_models(config, run, workspace, data, progress, deadline)
        return models.predict_oof([(view,) for view in config.predict.tta], origin)


def _check_device() -> None:
    """Refuse a GPU that torch has no code for, before images are read."""
    from kit.engine.device.device import find_device

    find_device()


def _prepared(
    run: RunFolder,
    workspace: Workspace,
    tta: Sequence[Component] | None,
    merge: str | None,
    progress: Progress,
    data: TrainingData | None = None,
) -> tuple[Config, TrainingData, Origin]:
    """Return the config with the given views and merge, the data, and the origin of the OOF predictions."""
    if not run.config.exists():
        raise KitError(run.label, "is a blend", "Its predictions come from `kit blend`", code="is_blend")
    config = with_tta(load_stored_config(run.config), tta, merge)
    if data is None and not run.oof.exists():
        _check_device()
    data = data or prepare(config, workspace, progress)
    refuse_other_data(run, data)
    folds = all_trained_folds(run, data.folds.models)
    refuse_other_folds(run, folds, config)
    origin = Origin(
        kind="oof",
        task=data.competition.task.name,
        experiment=run.label,
        folds=data.folds.fingerprint,
        tta=config.predict.labels,
        models=models_digest(folds),
        images=data.train_images,
    )
    return config, data, origin


def with_tta(config: Config, tta: Sequence[Component] | None, merge: str | None) -> Config:
    """Return the config with other views or another merge method, if given; an unknown name is a KitError."""
    if not tta and merge is None:
        return config
    from kit.engine.tta.predict import check_tta

    update = {"tta": list(tta or config.predict.tta), "merge": merge or config.predict.merge}
    predict_config = config.predict.model_copy(update=update)
    check_tta(predict_config.tta, predict_config.merge, tasks.get(config.competition.task))
    return config.model_copy(update={"predict": predict_config})


def _write_predictions(models: ExperimentModels, workspace: Workspace, origin: Origin) -> None:
    """Write the OOF, held-out and test predictions, and the labels of the held-out sets."""
    run, data = models.run, models.data
    for name in set(run.held_out_sets()) - set(data.held_out):
        run.held_out(name).unlink()
    models.predict_oof([tuple(models.config.predict.tta)], origin)[0].oof.save(run.oof)
    for name, samples in data.held_out.items():
        models.predict_samples(samples, _origin_of(name, origin, data)).save(run.held_out(name))
        write_text(workspace.truth(run.competition, name), data.truth_csv(name))
    models.predict_samples(data.competition.test, _origin_of("", origin, data)).save(run.test)


def _origin_of(name: str, origin: Origin, data: TrainingData) -> Origin:
    """Return the origin of predictions for a held-out set, or for the test images if ``name`` is empty."""
    images = data.other_images[name]
    kind: Kind = "held_out" if name else "test"
    labels = text_digest(data.truth_csv(name)) if name else ""
    return replace(origin, kind=kind, part=name, images=images, labels=labels)


def _why_predict(run: RunFolder, origin: Origin, data: TrainingData) -> str | None:
    """Return why the run must be predicted; empty if it never was; None if the files are up to date."""
    files = {"": run.test} | {name: run.held_out(name) for name in data.held_out}
    if not all(path.exists() for path in (run.oof, *files.values())):
        return ""
    try:
        found = [load_oof(run).origin]
        found += [(load_held_out(run, name) if name else load_test(run)).origin for name in files]
    except KitError as error:
        return f"{error.where} {error.problem}"
    wanted = [origin, *(_origin_of(name, origin, data) for name in files)]
    for stored, current in zip(found, wanted, strict=True):
        for field, what in WHAT_CHANGED.items():
            if getattr(stored, field) != getattr(current, field):
                part = f"{stored.kind.replace('_', '-')} {stored.part}".strip()
                return f"{what} of the {part} predictions have changed"
    return None

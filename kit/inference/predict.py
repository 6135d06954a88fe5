"""The predictions of an experiment: of validation rows (OOF), of held-out and of test images."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from kit.config import Component, Config
from kit.config.load import load_config
from kit.errors import KitError, first_few
from kit.inference.fold_models import ByView, FoldModels, open_models
from kit.predictions import Kind, Origin, load_predictions
from kit.runtime.deadline import Deadline
from kit.runtime.progress import SILENT, Progress
from kit.storage.files import write_text
from kit.storage.locks import exclusive_lock
from kit.storage.workspace import RunFolder, Workspace
from kit.training.data import TrainingData, prepare
from kit.training.run_state import refuse_other_data, trained_fold


def predict(
    run: RunFolder,
    workspace: Workspace,
    tta: Sequence[Component] | None = None,
    progress: Progress = SILENT,
    deadline: Deadline | None = None,
    merge: str | None = None,
    data: TrainingData | None = None,
) -> bool:
    """Write the OOF and test predictions of an experiment; return False if they were there already.

    The row of a test image that cannot be read is the class prior of the training labels, and its id is
    kept in the file's metadata.

    Args:
        tta: Views to merge instead of the config's.
        merge: How, instead of the config's way.
        deadline: How long it may take; as long as it needs by default. What one model said of one set of
            images is kept until all is written, so that going on does not ask it again.

    Raises:
        Interrupted: The time is over.
        KitError: A fold is not trained yet, a view does not exist, or another process is predicting.
    """
    config, data, origin = _prepared(run, workspace, tta, merge, progress, data)
    if _already_predicted(run, origin, data):
        return False
    with exclusive_lock(run.lock("predict"), "predicting"):
        models = open_models(config, run, workspace, data, progress, deadline)
        _write_predictions(models, workspace, origin)
        run.remove_partial_predictions()
    return True


def predict_by_view(
    run: RunFolder,
    workspace: Workspace,
    tta: Sequence[Component],
    progress: Progress = SILENT,
    deadline: Deadline | None = None,
) -> list[ByView]:
    """Return the OOF predictions of an experiment through each view alone; they are kept for another time.

    What a view of several images shows is merged as the config says.

    Raises:
        Interrupted: The time is over.
        KitError: A fold is not trained yet, a view does not exist, or another process is predicting.
    """
    config, data, origin = _prepared(run, workspace, tta, None, progress)
    with exclusive_lock(run.lock("predict"), "predicting"):
        models = open_models(config, run, workspace, data, progress, deadline)
        return models.of_validation_rows([(view,) for view in config.predict.tta], origin)


def _prepared(
    run: RunFolder,
    workspace: Workspace,
    tta: Sequence[Component] | None,
    merge: str | None,
    progress: Progress,
    data: TrainingData | None = None,
) -> tuple[Config, TrainingData, Origin]:
    """Return an experiment as asked for, what it works on, and the origin of its OOF predictions."""
    if not run.config.exists():
        raise KitError(run.label, "is a blend", "Its predictions are made by kit blend", code="is_blend")
    config = _asked_for(load_config(run.config), tta, merge)
    data = data or prepare(config, workspace, progress)
    refuse_other_data(run, data)
    origin = Origin(
        kind="oof",
        task=data.competition.task.name,
        experiment=run.label,
        folds=data.folds.fingerprint,
        tta=config.predict.labels,
        models=_digest_of_models(run, data, workspace),
        images=data.train_images,
    )
    return config, data, origin


def _asked_for(config: Config, tta: Sequence[Component] | None, merge: str | None) -> Config:
    """Return an experiment with other views or another merge, if they are given; they must exist."""
    if not tta and merge is None:
        return config
    from kit.engine.tta.predict import check_tta

    given = {"tta": list(tta or config.predict.tta), "merge": merge or config.predict.merge}
    asked = config.predict.model_copy(update=given)
    check_tta(asked.tta, asked.merge)
    return config.model_copy(update={"predict": asked})


def _digest_of_models(run: RunFolder, data: TrainingData, workspace: Workspace) -> str:
    """Return a digest of the weights of all models, which must be trained."""
    trained = {k: trained_fold(run.fold(k)) for k in range(data.folds.models)}
    missing = [k for k, done in trained.items() if done is None]
    if missing:
        raise KitError(
            run.label,
            f"{len(missing)} of {len(trained)} folds are not trained ({first_few(missing)})",
            "Out-of-fold predictions need every fold",
            f"Go on with `kit train CONFIG` (its config is {workspace.shown(run.config)}).",
            code="folds_untrained",
        )
    digests = "".join(done["model"] for done in trained.values() if done)
    return hashlib.sha256(digests.encode()).hexdigest()[:16]


def _write_predictions(models: FoldModels, workspace: Workspace, origin: Origin) -> None:
    """Write the OOF, held-out and test predictions of an experiment, and the truth of what is held out."""
    run, data = models.run, models.data
    for name in set(run.held_out_sets()) - set(data.held_out):
        run.held_out(name).unlink()
    models.of_validation_rows([tuple(models.config.predict.tta)], origin)[0].oof.save(run.oof)
    for name, samples in data.held_out.items():
        models.of_others(samples, _origin_of(name, origin, data)).save(run.held_out(name))
        truth = samples[[c for c in ("id", "group", *data.competition.label_columns) if c in samples]]
        write_text(workspace.truth(run.competition, name), truth.to_csv(index=False, lineterminator="\n"))
    models.of_others(data.competition.test, _origin_of("", origin, data)).save(run.test)


def _origin_of(name: str, origin: Origin, data: TrainingData) -> Origin:
    """Return the origin of predictions for a held-out set, or (without a name) for the test images."""
    images = data.other_images[name]
    kind: Kind = "held_out" if name else "test"
    return replace(origin, kind=kind, images=images)


def _already_predicted(run: RunFolder, origin: Origin, data: TrainingData) -> bool:
    """Tell whether the same models have answered for the same images through the same views."""
    files = {"": run.test} | {name: run.held_out(name) for name in data.held_out}
    if not all(path.exists() for path in (run.oof, *files.values())):
        return False
    try:
        oof = load_predictions(run.oof).origin
        others = {name: load_predictions(path).origin for name, path in files.items()}
    except KitError:
        return False  # damaged, or of another version of kit: they are made again
    wanted = {name: _origin_of(name, origin, data) for name in files}
    return oof == origin and all(
        there == replace(wanted[name], unreadable=there.unreadable) for name, there in others.items()
    )

"""Predict new images with a run: an experiment, or a blend with each of its members."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from kit.config import Component, Config
from kit.ensemble.blend_data import BlendData, Combination, weighted_mean
from kit.ensemble.members import align
from kit.ensemble.methods import blend_methods
from kit.ensemble.methods.registry import METHOD, BoundMethod
from kit.errors import KitError, first_few
from kit.evaluation.oof_with_labels import config_of, label_oof
from kit.inference.new_images import NewImages, classes_of, predict_new
from kit.inference.predict import with_tta
from kit.metrics import get_metric
from kit.postprocess.postprocessing import Postprocessing
from kit.predictions import FinalPredictions, Predictions, load_oof, read_metadata
from kit.storage.provenance import Identity, renewal
from kit.storage.run_artifacts import read_blend, read_postprocessing
from kit.storage.workspace import RunFolder, Workspace
from kit.tasks import tasks


def predict_run(
    run: RunFolder,
    workspace: Workspace,
    images: NewImages,
    tta: Sequence[Component] | None = None,
    merge: str | None = None,
) -> Predictions:
    """Return the predictions of an experiment or a blend for new images.

    Args:
        tta: Views instead of the config's; for an experiment only.
        merge: Merge method instead of the config's.

    Raises:
        Interrupted: The deadline has passed; a later call continues.
        KitError: A member cannot predict, or images are unreadable.
    """
    if run.config.exists():
        config = config_of(run)
        if not tta and merge is None:
            refuse_other_views(run, config)
        images.progress.stage("predict", run.label)
        return predict_new(with_tta(config, tta, merge), run, images)
    if tta or merge:
        raise KitError(
            run.label, "is a blend", "The views of its members are those of their configs", code="is_blend"
        )
    values, _ = read_blend(run)
    members = members_of_blend(run, workspace)
    combine = combination_of(values, members, config_of(run), workspace)
    parts = [predict_run(member, workspace, images) for member in members]
    first, probs = align(parts, [member.label for member in members])
    task = tasks.get(first.origin.task)
    origin = replace(first.origin, experiment=run.label)
    return Predictions(first.ids, first.classes, task.normalized(combine(probs)), origin)


def final_predictions(run: RunFolder, predictions: Predictions) -> FinalPredictions:
    """Return predictions after the postprocessing that was fitted on the run's out-of-fold predictions."""
    steps = read_postprocessing(run)[0]["steps"] if run.decision.exists() else []
    postprocessing = Postprocessing.from_list(steps)
    return postprocessing.apply(predictions.probs, tasks.get(predictions.origin.task))


def experiments_of(run: RunFolder, workspace: Workspace) -> list[RunFolder]:
    """Return the experiments whose models predict for a run: itself, or those of a blend and its blends."""
    if run.config.exists():
        return [run]
    found = [
        each for member in members_of_blend(run, workspace) for each in experiments_of(member, workspace)
    ]
    return list(dict.fromkeys(found))


def classes_of_run(run: RunFolder, workspace: Workspace) -> tuple[str, ...]:
    """Return the classes of a run's predictions, in their order."""
    return classes_of(experiments_of(run, workspace)[0])


def columns_of(run: RunFolder, workspace: Workspace) -> tuple[str, ...]:
    """Return the columns that any model of a run reads besides the images."""
    names = [each.name for one in experiments_of(run, workspace) for each in config_of(one).model.tabular]
    return tuple(dict.fromkeys(names))


def members_of_blend(run: RunFolder, workspace: Workspace) -> list[RunFolder]:
    """Return the runs that a blend combines, in its order.

    Raises:
        KitError: A member is the file of another tool, or its run folder is gone.
    """
    labels = list(read_blend(run)[0]["members"])
    runs = [RunFolder(workspace.root / "runs" / label) for label in labels]
    missing = [
        label
        for label, member in zip(labels, runs, strict=True)
        if not (member.config.exists() or member.blend.exists())
    ]
    if missing:
        raise KitError(
            run.label,
            f"has members without models here ({first_few(missing)})",
            "New images are predicted by every member; the files of other tools hold no models",
            "Restore the run folders, or blend without these members.",
            code="member_without_models",
        )
    return runs


def needs_oof(values: dict[str, Any]) -> bool:
    """Return whether a blend's fitted method is made again from out-of-fold predictions, as ``stack`` is."""
    return bool(blend_methods.get(values["method"]["name"], METHOD).learns and fitted_weights(values) is None)


def fitted_weights(values: dict[str, Any]) -> np.ndarray | None:
    """Return the weights (M,) that a blend has stored; None if its method has none."""
    by_label = {each["label"]: each["weight"] for each in (values.get("worth") or {}).get("members", [])}
    weights = [by_label.get(label) for label in values["members"]]
    return None if None in weights else np.array(weights, dtype=np.float64)


def combination_of(
    values: dict[str, Any], members: list[RunFolder], config: Config, workspace: Workspace
) -> Combination:
    """Return the fitted method of a blend.

    A method without stored weights that learns is fitted again, on the members' out-of-fold predictions and
    the labels of the folds CSV: the same rows give the same method.

    Args:
        values: The blend's record.
    """
    task = tasks.get(config.competition.task)
    weights = fitted_weights(values)
    if weights is not None:
        return weighted_mean(weights, task.numeric)
    bound = BoundMethod(*blend_methods.bind(Component.model_validate(values["method"]), METHOD))
    if not bound.method.learns:
        nothing = np.zeros((len(members), 0, 1), dtype=np.float32)
        metric = get_metric(config.competition.metric, task)
        return bound(BlendData(nothing, np.zeros(0), task, metric, config.seed))
    first, probs = align([load_oof(member) for member in members], [member.label for member in members])
    truth = label_oof(first, config, workspace)
    return bound(BlendData(probs, truth.targets, truth.task, truth.metric, config.seed))


def refuse_other_views(run: RunFolder, config: Config) -> None:
    """Refuse an experiment whose scores belong to other views than those of its config."""
    if not run.oof.exists():
        return
    found = read_metadata(run.oof, Identity(run.label, "oof"), renewal(run)).origin.tta
    if found != config.predict.labels:
        raise KitError(
            run.label,
            f"has predictions with the views {', '.join(found)}, and its config names "
            f"{', '.join(config.predict.labels)}",
            "New images are predicted like the images that were scored",
            f"Give --tta with these views, or make the predictions of the config: `kit predict {run.label}`.",
            code="views_differ",
        )

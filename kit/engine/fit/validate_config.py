"""Validate a config before any data is read: names, options, weights, image sizes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from kit.config import Config, ImageConfig
from kit.engine.augment.pipelines import check_preset, preset_warning, training_transform
from kit.engine.data.cache import cache_budget
from kit.engine.data.sampling import check_balance
from kit.engine.device.device import find_device
from kit.engine.fit.check_machine import check_machine
from kit.engine.models.build import (
    Classifier,
    ModelLibrary,
    build_model,
    check_model,
    check_weights,
    preprocessing_of,
)
from kit.engine.models.classifiers import settings_of
from kit.engine.models.freezing import check_freezing, train_only, widest
from kit.engine.models.heads import check_head
from kit.engine.optim.losses import build_loss, num_classes_listed
from kit.engine.optim.optimizers import build_optimizer, check_optimizer
from kit.engine.optim.schedules import check_schedule, shortfall
from kit.engine.optim.weight_averaging import check_average
from kit.engine.tta.merge import check_merge
from kit.engine.tta.views import check_sizes, check_view
from kit.errors import KitError, counted, raise_mistakes
from kit.metrics import get_metric
from kit.postprocess.postprocessing import check_steps
from kit.storage.workspace import Workspace
from kit.tasks import Task, tasks

TRIAL_CLASSES = 3
ONE_CLASS = "An image must have one class, whose margin the loss can ask for"
NO_CONFIDENCE = "A predicted number says nothing of its confidence"
ONLY_CLASSES = "Only labels that are classes can be wrong or right"
ROUNDING = 0.006  # of mean and std: 0.49 is 0.485 rounded


def check_recipe(config: Config, workspace: Workspace, models: int = 0) -> list[str]:
    """Return warnings about a valid config; refuse an invalid one, or one that this machine cannot train.

    Args:
        models: Number of models that are to be trained; 0: the machine is not checked.

    Raises:
        KitError: All wrong names and options at once; else the first failure of a trial on blank images, or
            what the machine lacks.
    """
    if models:
        find_device()  # refuses a GPU that torch has no code for
    task, train = tasks.get(config.competition.task), config.train
    checks: list[Callable[[], object]] = [
        lambda: check_model(config.model),
        lambda: check_head(config.model),
        *([lambda: settings_of(classifier)] if (classifier := config.model.classifier) else []),
        lambda: _check_task(config, task),
        lambda: build_loss(train.loss, task),
        lambda: check_balance(train.balance, task),
        lambda: check_optimizer(train.optimizer),
        lambda: check_schedule(train.schedule, train.epochs),
        lambda: check_average(train.average),
        lambda: get_metric(config.competition.metric, task),
        lambda: check_steps(config.decide, task, 1 if task.numeric else _num_classes(config)),
        lambda: check_preset(config.augment.preset),
        lambda: cache_budget(config.image.cache, workspace.cache(config.competition.name)),
        lambda: config.model.weights and workspace.weights(config.model.weights),
        *(lambda view=view: check_view(view) for view in config.predict.tta),
        lambda: check_merge(config.predict.merge, task),
    ]
    mistakes = [mistake for check in checks if (mistake := _mistake(check)) is not None]
    raise_mistakes(config.name, mistakes)
    if config.model.start is None:
        check_weights(config.model)
    model = _trial_run(config)
    return _warnings(config) + (check_machine(config, workspace, model, models) if models else [])


def _num_classes(config: Config) -> int | None:
    """Return the number of classes if the config lists them."""
    classes = config.competition.classes
    return None if classes is None else len(classes)


def _check_task(config: Config, task: Task) -> None:
    """Refuse a key of the config that does not suit the task."""
    train, numbers = config.train, task.numeric
    table = [  # key, whether it is set, whether it does not suit, rule, code
        ("model.classifier", config.model.classifier, not task.exclusive, ONE_CLASS, "classifier"),
        ("train.pseudo_labels", train.pseudo_labels, numbers, NO_CONFIDENCE, "pseudo_labels"),
        ("train.relabel", train.relabel, numbers or task.soft, ONLY_CLASSES, "label_errors"),
        ("train.drop", train.drop, numbers or task.soft, ONLY_CLASSES, "label_errors"),
        ("predict.knn", config.predict.knn, numbers, "Neighbors vote for classes", "knn"),
    ]
    for key, section, is_unsuitable, rule, code in table:
        if section is not None and is_unsuitable:
            problem = f"does not suit the task {task.name}"
            raise KitError(key, problem, rule, f"Remove {key}.", code=f"{code}_unsuitable")


def _mistake(check: Callable[[], object]) -> KitError | None:
    try:
        check()
    except KitError as error:
        return error
    return None


def _trial_run(config: Config) -> Classifier:
    """Return the model without weights, after two blank images of each size ran through it."""
    task = tasks.get(config.competition.task)
    num_classes = num_classes_listed(config.train.loss) or (1 if task.numeric else TRIAL_CLASSES)
    untrained = config.model.model_copy(update={"pretrained": False, "weights": None})
    model, _ = build_model(untrained, config.image, num_classes)
    own = model.preprocessing
    training_transform(config.augment, own)
    check_freezing(config.model.trains, model.backbone)
    train_only(model.backbone, widest(config.model.trains))
    build_optimizer(model.backbone, config.train)
    loss = build_loss(config.train.loss, task)
    by_epoch = [("image.size_by_epoch", size) for size in (config.image.size_by_epoch or {}).values()]
    for key, size in (*by_epoch, ("image.size", own.size), ("image.predict_size", own.predicting)):
        logits = _logits(model.train(key != "image.predict_size"), key, size)
        for each in logits:
            loss(each, torch.eye(max(2, num_classes))[:2, :num_classes])
    check_sizes(config.predict.tta, model)
    return model


def _logits(model: Classifier, key: str, size: int) -> tuple[Tensor, ...]:
    """Return the logits of every head for two blank images."""
    try:
        with torch.no_grad():
            outputs = model(torch.zeros(2, model.preprocessing.channels, size, size))
    except (RuntimeError, ValueError, AssertionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise KitError(
            key, f"the model does not accept {size} px: {reason}", code="image_size_unsuitable"
        ) from error
    return outputs if isinstance(outputs, tuple) else (outputs,)


def _warnings(config: Config) -> list[str]:
    """Return warnings about settings without effect, and color steps that are left out (many channels)."""
    train, model = config.train, config.model
    warnings = preset_warning(config.augment, config.image.channels)
    has_weights = ModelLibrary.of(model.name).is_pretrained or model.weights or model.start
    if model.pretrained and not has_weights:
        warnings.append(
            f"model.pretrained is true, and {model.name} has no pretrained weights: it starts from random "
            "weights. Set model.pretrained: false, or choose another model"
        )
    if (train.relabel or train.drop) and not ((model.pretrained and has_weights) or model.start):
        warnings.append(
            "train.relabel and train.drop judge labels by the features of the network before training, and "
            "this one starts from random weights: few label errors will be found"
        )
    warnings += _normalization_warning(config)
    if (short := shortfall(train.schedule, train.epochs, train.lr)) is not None:
        warnings.append(short)
    if model.auxiliary and widest(model.trains) == 0:
        warnings.append(
            "model.auxiliary has no effect: its heads train the layers before the head, which are frozen"
        )
    for key, plan in (
        ("model.trains", config.model.trains),
        ("image.size_by_epoch", config.image.size_by_epoch),
    ):
        late = [epoch for epoch in plan or () if epoch > train.epochs]
        if late:
            warnings.append(
                f"{key} changes in epoch {late[0]}, but training has only {counted(train.epochs, 'epoch')}"
            )
    return warnings


def _normalization_warning(config: Config) -> list[str]:
    """Return a warning if images of colors or gray are not normalized as pretrained weights expect."""
    model, image = config.model, config.image
    has_weights = model.pretrained and model.start is None and ModelLibrary.of(model.name).is_pretrained
    if not has_weights or image.channels != 3:
        return []
    own, _ = preprocessing_of(model, ImageConfig(mode=image.mode))
    pairs = {"mean": (image.mean, own.mean), "std": (image.std, own.std)}
    wrong = {
        key: expected
        for key, (found, expected) in pairs.items()
        if found is not None and not np.allclose(found, expected, rtol=0, atol=ROUNDING)
    }
    if not wrong:
        return []
    keys = " and ".join(f"image.{key}" for key in wrong)
    given = " and ".join(f"image.{key} {pairs[key][0]}" for key in wrong)
    right = " and ".join(f"{key} {[round(value, 4) for value in values]}" for key, values in wrong.items())
    return [
        f"{given}: the pretrained weights of {model.name} expect {right}, so the network gets other values "
        f"than it was trained on. Remove {keys}"
    ]

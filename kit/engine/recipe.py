"""Whether a config can work at all, asked before any data is read and anything is written."""

from collections.abc import Callable

import numpy as np
import torch

from kit.config import Config
from kit.engine.augment import presets, training_transform
from kit.engine.balance import plan_epochs
from kit.engine.losses import build_loss
from kit.engine.models import build_model, check_model, check_weights
from kit.engine.optimisers import build_optimizer, check_optimizer
from kit.engine.store import cache_budget
from kit.engine.tta import views
from kit.errors import KitError
from kit.metrics import get_metric
from kit.tasks import tasks
from kit.workspace import Workspace

TRIAL_CLASSES = 3


def check_recipe(config: Config, workspace: Workspace) -> None:
    """Refuse what cannot work: unknown names and options, weights out of reach, sizes that do not fit.

    Raises:
        KitError: With every mistake in the names; or, where those are right, with what fails in a trial.
    """
    task = tasks.get(config.competition.task)
    checks: list[Callable[[], object]] = [
        lambda: check_model(config.model),
        lambda: build_loss(config.train.loss, task),
        lambda: plan_epochs(config.train.balance, np.eye(TRIAL_CLASSES), config.seed),
        lambda: check_optimizer(config.train.optimizer),
        lambda: get_metric(config.competition.metric, task),
        lambda: presets.get(config.augment.preset, "augment.preset"),
        lambda: cache_budget(config.image.cache),
        lambda: config.model.weights and workspace.weights(config.model.weights),
        *(lambda name=name: views.get(name, "predict.tta") for name in config.predict.tta),
    ]
    mistakes = [mistake for check in checks if (mistake := _mistake(check)) is not None]
    if len(mistakes) == 1:
        raise mistakes[0]
    if mistakes:
        listed = "".join(f"\n  - {mistake}" for mistake in mistakes)
        raise KitError(config.name, f"{len(mistakes)} mistakes:{listed}\n")
    check_weights(config.model)
    _try_out(config)


def _mistake(check: Callable[[], object]) -> KitError | None:
    try:
        check()
    except KitError as error:
        return error
    return None


def _try_out(config: Config) -> None:
    """Build everything without weights and take two blank images through it."""
    untrained = config.model.model_copy(update={"pretrained": False, "weights": None})
    model, _ = build_model(untrained, config.image, TRIAL_CLASSES)
    own = model.preprocessing
    training_transform(config.augment, own)
    build_optimizer(model.backbone, config.train)
    loss = build_loss(config.train.loss, tasks.get(config.competition.task))
    for key, size in (("image.size", own.size), ("image.predict_size", own.predicting)):
        try:
            with torch.no_grad():
                logits = model.eval()(torch.zeros(2, own.channels, size, size))
        except (RuntimeError, ValueError, AssertionError) as error:
            reason = " ".join(str(error).split())[:200]
            raise KitError(key, f"{config.model.name} does not take {size} px: {reason}") from error
        loss(logits, torch.eye(TRIAL_CLASSES)[:2])

"""Whether a config's names mean something, asked before any data is read."""

from collections.abc import Callable

from kit.config import Config
from kit.engine.augment import build_step, presets
from kit.engine.images import cache_budget
from kit.engine.losses import build_loss
from kit.engine.models import check_model
from kit.engine.optimisers import check_optimizer
from kit.engine.tta import views
from kit.errors import KitError
from kit.metrics import get_metric
from kit.tasks import tasks


def check_recipe(config: Config) -> None:
    """Refuse unknown models, losses, metrics, optimisers, presets, transforms and views, all at once.

    Raises:
        KitError: With every mistake.
    """
    task = tasks.get(config.competition.task)
    checks: list[Callable[[], object]] = [
        lambda: check_model(config.model),
        lambda: build_loss(config.train.loss, task),
        lambda: check_optimizer(config.train.optimizer),
        lambda: get_metric(config.competition.metric, task),
        lambda: presets.get(config.augment.preset, "augment.preset"),
        lambda: cache_budget(config.image.cache),
        *(lambda name=name: views.get(name, "predict.tta") for name in config.predict.tta),
        *(
            lambda step=step, i=i: build_step(step, f"augment.pipeline[{i}]")
            for i, step in enumerate(config.augment.pipeline or [])
        ),
    ]
    mistakes = [mistake for check in checks if (mistake := _mistake(check)) is not None]
    if len(mistakes) == 1:
        raise mistakes[0]
    if mistakes:
        listed = "".join(f"\n  - {mistake}" for mistake in mistakes)
        raise KitError(config.name, f"{len(mistakes)} mistakes:{listed}\n")


def _mistake(check: Callable[[], object]) -> KitError | None:
    try:
        check()
    except KitError as error:
        return error
    return None

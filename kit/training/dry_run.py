"""Build a training without running it and describe it (``kit train --dry-run``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from kit.config import Config
from kit.errors import counted
from kit.runtime.displayed import Displayed
from kit.runtime.progress import SILENT, Progress
from kit.storage.workspace import Workspace
from kit.training.data import TrainingData, image_store, prepare

if TYPE_CHECKING:
    from torch import nn

    from kit.engine.fit.components import FoldImages
    from kit.engine.models.build import Classifier


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters with the same learning rate and weight decay.

    Attributes:
        part: Their stages, or ``head``; ``frozen: `` in front if they are never trained.
        tensors: Number of parameter tensors.
        parameters: Number of scalars.
        lr: Peak learning rate; 0 if frozen.
    """

    part: str
    tensors: int
    parameters: int
    lr: float
    weight_decay: float


@dataclass(frozen=True)
class DryRun(Displayed):
    """Description of a training that was not run.

    Attributes:
        facts: Settings and what follows from them, in display order.
        groups: Parameter groups of the optimizer, from the input to the head, then frozen parameters.
        rates: Learning rate of the first step, the highest, and of the last step.
        augmentation: Augmentation steps of a training image.
    """

    experiment: str
    facts: dict[str, str]
    groups: list[ParameterGroup]
    rates: dict[str, float]
    augmentation: list[str]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def dry_run(config: Config, workspace: Workspace, progress: Progress = SILENT) -> DryRun:
    """Return the description of training fold 0. Nothing is trained, and no folds CSV is written.

    Raises:
        KitError: The config or the data is wrong.
    """
    from kit.engine.augment.mixup import describe_mixing
    from kit.engine.augment.pipelines import describe
    from kit.engine.device.amp import choose_precision
    from kit.engine.device.device import find_device
    from kit.engine.fit.components import epoch_batches
    from kit.engine.fit.validate_config import check_recipe
    from kit.engine.optim.schedules import rates
    from kit.training.fold import FoldRunner
    from kit.training.precision import needs_trial

    for warning in check_recipe(config, workspace, config.folds.models or 1):
        progress.warn(warning)
    data = prepare(config, workspace, progress, write_folds=False)
    run = workspace.run(config.competition.name, config.name)
    store = image_store(config, workspace, data, progress)
    runner = FoldRunner(config, workspace, data, run, store, progress)
    model = runner.model(0)
    images = runner.fold_images(0, model.preprocessing)
    device = find_device()
    precision = choose_precision(config.train.precision, device)
    is_measured = needs_trial(config, device, precision)
    precision_text = "bf16 or fp32, whichever is faster" if is_measured else precision
    steps = len(epoch_batches(images, config.train, config.seed))
    first, peak, last = rates(config.train.schedule, config.train.lr, config.train.epochs, steps)
    return DryRun(
        experiment=run.label,
        facts=_facts(config, data, model, images, steps)
        | {"device": f"{device}, precision {precision_text}"},
        groups=parameter_groups(model.backbone, config),
        rates={"first": first, "peak": peak, "last": last},
        augmentation=[
            *describe(config.augment, model.preprocessing),
            *describe_mixing(config.augment, config.train.epochs),
        ],
    )


def _facts(
    config: Config, data: TrainingData, model: Classifier, images: FoldImages, steps: int
) -> dict[str, str]:
    from kit.engine.optim.schedules import kept_epoch

    train, own, models = config.train, model.preprocessing, data.folds.models
    sizes = config.image.size_by_epoch or {1: own.size}
    by_epoch = ", ".join(f"{size} px from epoch {epoch}" for epoch, size in sizes.items())
    size_text = f"{own.size} px" if len(sizes) == 1 else by_epoch
    trained = ", ".join(f"{_stages_text(n)} from epoch {epoch}" for epoch, n in config.model.trains.items())
    return {
        "model": f"{config.model.name}, {sum(p.numel() for p in model.parameters()):,} parameters",
        "images": f"{size_text}, predicted at {own.predicting} px",
        "normalized": f"mean {_numbers_text(own.mean)}, std {_numbers_text(own.std)}",
        "folds": f"{models}; fold 0 trains on {len(images.train)} and validates {len(images.validation)}",
        "steps": f"{steps} per epoch, {counted(train.batch_size * train.accumulate, 'image')} each",
        "epochs": f"{train.epochs}, the {kept_epoch(train)} is kept",
        "trains": trained,
        "loss": _component_text(train.loss) or data.competition.task.loss,
        "optimizer": _component_text(train.optimizer),
        "schedule": _component_text(train.schedule),
        "average": _component_text(train.average) or "none",
        **_taught(config),
    }


def _taught(config: Config) -> dict[str, str]:
    """Return what training adds to the labels, or changes in them; its predictions may not exist yet."""
    sections = {key: getattr(config.train, key) for key in ("pseudo_labels", "teacher", "relabel", "drop")}
    return {
        key.replace("_", "-"): ", ".join(f"{name} {value}" for name, value in section.model_dump().items())
        for key, section in sections.items()
        if section is not None
    }


def _stages_text(count: int | str) -> str:
    return {"all": "all", 0: "the head"}.get(count, f"the head and the last {count} stages")


def _component_text(component: Any) -> str:
    if component is None:
        return ""
    options = ", ".join(f"{key} {value}" for key, value in component.options.items())
    return f"{component.name} ({options})" if options else str(component.name)


def _numbers_text(values: Sequence[float]) -> str:
    return " ".join(f"{value:.3g}" for value in values)


def parameter_groups(backbone: nn.Module, config: Config) -> list[ParameterGroup]:
    """Return the optimizer's parameter groups, then the frozen parameters."""
    from kit.engine.models import freezing
    from kit.engine.optim.optimizers import build_optimizer

    freezing.check_freezing(config.model.trains, backbone)
    freezing.train_only(backbone, freezing.widest(config.model.trains))
    part_of = {name: number for number, stage in enumerate(freezing.stages_of(backbone)) for name in stage}
    stage_of = {p: part_of.get(name) for name, p in backbone.named_parameters()}
    groups = []
    for group in build_optimizer(backbone, config.train).param_groups:
        rate = config.train.lr * group.get("lr_scale", 1.0)
        groups.append(_group(group["params"], stage_of, rate, group["weight_decay"]))
    frozen = [p for p in backbone.parameters() if not p.requires_grad]
    return [*groups, *([_group(frozen, stage_of, 0.0, 0.0, "frozen: ")] if frozen else [])]


def _group(
    parameters: Sequence[nn.Parameter],
    stage_of: dict[nn.Parameter, int | None],
    lr: float,
    weight_decay: float,
    prefix: str = "",
) -> ParameterGroup:
    numbers = sorted({n + 1 for p in parameters if (n := stage_of[p]) is not None})
    stages = ""
    if numbers:
        stages = f"stage {numbers[0]}" if len(numbers) == 1 else f"stages {numbers[0]}–{numbers[-1]}"
    head = "head" if any(stage_of[p] is None for p in parameters) else ""
    part = prefix + ", ".join(filter(None, (stages, head)))
    return ParameterGroup(part, len(parameters), sum(p.numel() for p in parameters), lr, weight_decay)

"""Train all folds of one config: skip trained folds, resume interrupted ones, refuse changed inputs."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from kit.config import Config
from kit.errors import KitError
from kit.parallel.devices import Cluster, Devices
from kit.parallel.parallel import in_parallel, num_slots
from kit.runtime.deadline import STOPPING_SECONDS, Deadline
from kit.runtime.environment import environment
from kit.runtime.progress import SILENT, Progress
from kit.storage.files import remove_drafts, write_json
from kit.storage.locks import exclusive_lock
from kit.storage.workspace import RunFolder, Workspace
from kit.training.data import TrainingData, image_store, prepare
from kit.training.feature_cache import is_head_only
from kit.training.fold import FoldRunner
from kit.training.fold_work import FoldWork
from kit.training.kept_epochs import kept_epochs
from kit.training.precision import settled_precision
from kit.training.run_state import claim, forget, is_complete
from kit.training.scorable import check_scorable
from kit.training.time_plan import TimePlan
from kit.training.trained_folds import DamagedFoldError, trained_fold
from kit.training.warm_start import warm_start


def train(
    config: Config,
    workspace: Workspace,
    only: Sequence[int] = (),
    fresh: bool = False,
    progress: Progress = SILENT,
    deadline: Deadline | None = None,
    data: TrainingData | None = None,
    devices: Devices = None,
) -> RunFolder:
    """Train every fold that is not trained yet; return the experiment's folder.

    Args:
        only: Folds to train; empty: all.
        fresh: Discard the results of earlier runs of the experiment.
        deadline: When to stop; default: never.
        data: The training data, if the caller has called ``check_experiment`` and prepared it already.
        devices: What trains at the same time, as for ``find_devices``, or a cluster.

    Raises:
        Interrupted: The deadline or Ctrl-C stopped training; the same call resumes.
        KitError: The config or the data is wrong, the experiment was started with another config or other
            folds (and ``fresh`` is not set), or another process is training the same folds.
    """
    if data is None:
        check_experiment(config, workspace, fresh, progress, only)
        data = prepare(config, workspace, progress)
    run = workspace.run(config.competition.name, config.name)
    requested = requested_folds(only, data.folds.models)
    with ExitStack() as locks:
        for k in requested:
            locks.enter_context(exclusive_lock(run.lock(f"fold-{k}"), f"training fold {k}"))
        if fresh:
            forget(run, requested)
        claim(run, config, data)
        todo = [k for k in requested if not _is_trained(run, k, progress)]
        if todo:
            _train_folds(config, workspace, data, run, todo, progress, deadline or Deadline(), devices)
            higher = data.competition.metric.higher_is_better
            compared = kept_epochs(run, data.folds.models, higher)
            if compared is not None and (text := compared.text()):
                progress.note(text)
    return run


def _is_trained(run: RunFolder, k: int, progress: Progress) -> bool:
    """Return whether fold ``k`` is trained; a damaged fold is trained again, with a warning."""
    try:
        found = trained_fold(run, k)
    except DamagedFoldError as error:
        progress.warn(f"fold {k} is trained again. {error.where}: {error.problem}")
        return False
    if found is not None:
        progress.note(f"fold {k} is already trained: {found.score:.4f}")
    return found is not None


def check_experiment(
    config: Config,
    workspace: Workspace,
    fresh: bool = False,
    progress: Progress = SILENT,
    only: Sequence[int] = (),
) -> None:
    """Check config and machine before data is read, unless the experiment is complete.

    Args:
        only: Folds to train; empty: all.

    Raises:
        KitError: The config is wrong, a blend has the experiment's name, or this machine cannot train it.
    """
    run = workspace.run(config.competition.name, config.name)
    if run.blend.exists():
        raise KitError(
            run.path,
            "is a blend",
            "Experiments and blends share names",
            "Give the experiment another name.",
            code="name_taken",
        )
    if fresh or not is_complete(run, config):
        from kit.engine.fit.validate_config import check_recipe

        for warning in check_recipe(config, workspace, _num_untrained(config, run, only)):
            progress.warn(warning)


def _num_untrained(config: Config, run: RunFolder, only: Sequence[int]) -> int:
    """Return the number of models to train, at least 1; of folds that the data defines, 1."""
    folds = set(only or range(config.folds.models or 1))
    return max(1, sum(not run.fold(k).done.exists() for k in folds))


def requested_folds(only: Sequence[int], models: int) -> list[int]:
    """Return the folds to train: those asked for, or all; an unknown one is a KitError."""
    unknown = [k for k in only if not 0 <= k < models]
    if unknown:
        raise KitError(
            f"--fold {unknown[0]}", "no such fold", f"Folds are 0..{models - 1}", code="unknown_fold"
        )
    return sorted(set(only)) or list(range(models))


def _train_folds(
    config: Config,
    workspace: Workspace,
    data: TrainingData,
    run: RunFolder,
    todo: list[int],
    progress: Progress,
    deadline: Deadline,
    devices: Devices,
) -> None:
    from kit.engine.device.device import find_device, prepare_process

    prepare_process()
    check_scorable(data, todo, progress)
    for k in todo:
        warm_start(config, workspace, data, k)  # check all folds before training any
        remove_drafts(run.fold(k).path)
    device = find_device()
    precision = settled_precision(config, workspace, len(data.competition.classes), run)
    progress.note(f"device {device}, precision {precision}")
    write_json(run.environment, environment(workspace.root, config.seed, str(device), str(precision)))
    # Of a frozen network, folds share the features, which one process computes.
    if not is_head_only(config) and (isinstance(devices, Cluster) or num_slots(devices, len(todo)) > 1):
        in_parallel(FoldWork(config, workspace, data, run), todo, devices, progress, deadline)
        return
    store = image_store(config, workspace, data, progress)
    runner = FoldRunner(config, workspace, data, run, store, progress, deadline)
    plan = TimePlan.of(config, data, deadline, progress)
    for position, k in enumerate(todo):
        deadline.begin(f"fold {k}", needed=STOPPING_SECONDS)
        runner.train(k, plan.after_epoch(k, folds_after=len(todo) - position - 1))

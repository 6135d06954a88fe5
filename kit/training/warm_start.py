"""Use models of another experiment of the same folds: to start from (``model.start``), or as teachers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kit.config import Config
from kit.errors import KitError
from kit.storage.fold_folder import FoldFolder
from kit.storage.workspace import RunFolder, Workspace
from kit.training.data import TrainingData
from kit.training.fold_columns import FoldEncoders
from kit.training.run_state import read_training_data
from kit.training.trained_folds import trained_fold

if TYPE_CHECKING:
    from kit.engine.models.build import Classifier


def warm_start(config: Config, workspace: Workspace, data: TrainingData, k: int) -> FoldFolder | None:
    """Return the fold of another experiment that fold ``k`` starts from (``model.start``), or None.

    Raises:
        KitError: The other experiment is a blend without weights, or as in ``check_same_fold``.
    """
    if config.model.start is None:
        return None
    other = workspace.find_run(config.model.start)
    if not other.training_data.exists():
        raise KitError(
            "model.start",
            f"{other.label} is a blend",
            "model.start needs an experiment with weights",
            code="is_blend",
        )
    check_same_fold(other, data, k, "model.start")
    return other.fold(k)


def check_same_fold(other: RunFolder, data: TrainingData, k: int, where: str) -> None:
    """Check that another experiment's model of fold ``k`` was not trained on validation rows of fold ``k``.

    Args:
        where: The key of the config that names the other experiment.

    Raises:
        KitError: The other experiment has different folds, or its fold is not trained.
    """
    if read_training_data(other)[1]["folds"] != data.folds.fingerprint:
        raise KitError(
            where,
            f"{other.label} was trained on other folds",
            "A fold may only use a model that was not trained on its validation rows",
            "Train both on the same folds CSV.",
            code="folds_differ",
        )
    fold = trained_fold(other, k)
    if fold is not None and fold.inputs.get("folds") != data.folds.fingerprint:
        raise KitError(
            where,
            f"fold {k} of {other.label} was trained on other folds than the others",
            "A fold may only use a model that was not trained on its validation rows",
            "Train it again with --fresh.",
            code="folds_differ",
        )
    if fold is None:
        raise KitError(
            where,
            f"fold {k} of {other.label} is not trained",
            next="Train it first.",
            code="folds_untrained",
        )


def load_start(model: Classifier, fold: FoldFolder, label: str, encoders: FoldEncoders) -> list[str]:
    """Load the weights of another experiment's fold; return notes.

    Args:
        label: The name of the fold in notes.
        encoders: What this fold reads; the head of another fold that reads something else is not loaded.
    """
    from kit.engine.models.build import load_trained
    from kit.engine.models.checkpoints import load_model

    state, about = load_model(fold.model)
    same_rows = about.get("tabular", []) == encoders.tabular.as_list()
    return [f"starts from {label}", *load_trained(model, state, fold.model, with_head=same_rows)]

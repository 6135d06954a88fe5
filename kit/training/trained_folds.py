"""Read the results of trained folds (``done.json``), and check that each model is the one it describes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kit.config import Config
from kit.config.load import leaves
from kit.errors import KitError, counted_of, first_few
from kit.storage.files import file_digest
from kit.storage.provenance import Identity, MisplacedError, digest_of, read_artifact, renewal, write_artifact
from kit.storage.workspace import RunFolder

AFTER_TRAINING = (
    "predict.",
    "decide",
    "submission.",
    "competition.data",
    "competition.test.",
    "competition.unlisted",
    "competition.held_out",
    "competition.leaks",
    "competition.near",
    "train.workers",
    "image.cache",
    "checkpoint.",
)  # keys that do not affect trained weights
# keys that choose the images that get pseudo-labels
CHOOSE_UNLABELED = ("competition.test.", "competition.unlisted", "competition.held_out", "competition.near")


class DamagedFoldError(KitError):
    """A trained fold whose files are damaged or edited; training it again makes them again."""


@dataclass(frozen=True)
class TrainedFold:
    """The result of a trained fold.

    Attributes:
        values: Score, epochs and seconds; ``model`` is the digest of the weights file.
        inputs: Input (``folds``, ``images``, ``config``) -> its digest when the fold was trained.
    """

    values: dict[str, Any]
    inputs: Mapping[str, str]

    @property
    def model(self) -> str:
        """The digest of the weights file."""
        return str(self.values["model"])

    @property
    def score(self) -> float:
        """The validation score."""
        return float(self.values["score"])


def model_identity(run: RunFolder, k: int) -> Identity:
    """Return what the model of fold ``k`` must be."""
    return Identity(run.label, "model", str(k))


def record_fold(run: RunFolder, k: int, values: Mapping[str, Any], inputs: Mapping[str, str]) -> None:
    """Mark a fold as trained: write its result with the digest of its weights."""
    model = file_digest(run.fold(k).model)
    write_artifact(run.fold(k).done, {"fold": k, **values, "model": model}, model_identity(run, k), inputs)


def trained_fold(run: RunFolder, k: int, verify: bool = True) -> TrainedFold | None:
    """Return the result of a trained fold; None if it is not trained.

    Args:
        verify: Compare the weights file with its digest, which reads the whole file.

    Raises:
        DamagedFoldError: A file of the fold is damaged, edited or missing.
        MisplacedError: The folder holds another fold, or one of another experiment.
    """
    folder, again = run.fold(k), retraining(run)
    if not folder.done.exists():
        return None
    try:
        values, provenance = read_artifact(folder.done, model_identity(run, k), f"{again} --fresh")
    except MisplacedError:
        raise
    except KitError as error:
        next_step = f"Restore it, or train the fold again: `{again}`."
        raise DamagedFoldError(error.where, error.problem, error.rule, next_step, code=error.code) from error
    found = TrainedFold(values, provenance.inputs)
    problem = "" if folder.model.exists() else "is missing"
    if not problem and verify and file_digest(folder.model) != found.model:
        problem = "is damaged or was replaced: its digest differs from the one in done.json"
    if problem:
        next_step = f"Restore the file, or train the fold again: `{again}`."
        raise DamagedFoldError(folder.model, problem, next=next_step, code="model_damaged")
    return found


def is_trained(run: RunFolder, k: int) -> bool:
    """Return whether a fold is trained and undamaged."""
    try:
        return trained_fold(run, k) is not None
    except DamagedFoldError:
        return False


def trained_folds(run: RunFolder, num_models: int, verify: bool = True) -> dict[int, TrainedFold]:
    """Return fold -> result of the trained folds; errors as in ``trained_fold``."""
    found = {k: trained_fold(run, k, verify) for k in range(num_models)}
    return {k: fold for k, fold in found.items() if fold is not None}


def all_trained_folds(run: RunFolder, num_models: int, verify: bool = True) -> list[TrainedFold]:
    """Return the results of all folds; errors as in ``trained_fold``.

    Raises:
        KitError: A fold is not trained.
    """
    found = trained_folds(run, num_models, verify)
    missing = [k for k in range(num_models) if k not in found]
    if missing:
        raise KitError(
            run.label,
            f"{counted_of(len(missing), num_models, 'fold', 'is', 'are')} not trained ({first_few(missing)})",
            "Out-of-fold predictions need every fold",
            f"Continue with `{retraining(run)}`.",
            code="folds_untrained",
        )
    return [found[k] for k in range(num_models)]


def retraining(run: RunFolder) -> str:
    """Return the command that trains the missing folds of an experiment, or makes a soup again."""
    return renewal(run) if run.blend.exists() else f"kit train runs/{run.label}/config.yaml"


def models_digest(folds: Sequence[TrainedFold]) -> str:
    """Return one digest of the weights of all folds."""
    return hashlib.sha256("".join(fold.model for fold in folds).encode()).hexdigest()[:16]


def training_digest(config: Config) -> str:
    """Return the digest of the values of a config that affect trained weights, without the defaults.

    A new key of a later version of kit, at its default, does not change it.
    """
    values = dict(leaves(config.model_dump(exclude_defaults=True)))
    if config.train.keep == "auto":
        values["train.keep"] = "auto"
    elif config.train.keep == "best":  # an earlier default: weights trained with it stay valid
        del values["train.keep"]
    ignored = without_effect_on_weights(config)
    return digest_of({key: value for key, value in values.items() if not key.startswith(ignored)})


def without_effect_on_weights(config: Config) -> tuple[str, ...]:
    """Return the beginnings of the keys that do not affect trained weights."""
    chooses_epochs = config.train.keep != "last" or config.train.patience is not None
    ignored = AFTER_TRAINING if chooses_epochs else (*AFTER_TRAINING, "competition.metric")
    if config.train.pseudo_labels is None:
        return ignored
    return tuple(key for key in ignored if key not in CHOOSE_UNLABELED)

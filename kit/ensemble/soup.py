"""Average the weights of several experiments: one model per fold, with members chosen greedily.

Wortsman et al. 2022, "Model soups".
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from kit.config import Config
from kit.config.load import config_yaml, load_config
from kit.ensemble.blend_data import BlendData
from kit.ensemble.blended import Blended, check_members
from kit.ensemble.evaluate_blend import BlendEvaluation, NestedScorer, compare_with_members
from kit.errors import KitError
from kit.evaluation.oof_with_labels import LabeledPredictions, label_oof
from kit.inference.experiment_models import ExperimentModels, open_models
from kit.inference.predict import predict
from kit.predictions import load_oof
from kit.runtime.environment import commit_of, now
from kit.runtime.progress import SILENT, Progress
from kit.storage.files import write_text
from kit.storage.locks import exclusive_lock
from kit.storage.run_artifacts import write_blend
from kit.storage.workspace import RunFolder, Workspace
from kit.training.data import TrainingData, prepare
from kit.training.run_state import forget, inputs_of, record_training_data, refuse_other_data
from kit.training.trained_folds import (
    model_identity,
    record_fold,
    trained_fold,
    trained_folds,
    training_digest,
)

NAME = "soup"
MemberSet = tuple[int, ...]  # member numbers


def write_soup(
    members: Sequence[RunFolder], run: RunFolder, workspace: Workspace, progress: Progress = SILENT
) -> Blended:
    """Write one model per fold with averaged weights, and its predictions; return its evaluation.

    Args:
        members: Experiments with the same architecture and folds.
        run: The folder to write to; it becomes both an experiment and a blend.

    Raises:
        KitError: A member is a blend, or has another architecture or other folds; or only one fold exists.
    """
    members = sorted(members, key=lambda member: member.label)
    labels = [member.label for member in members]
    check_members(labels, run)
    config = _config_of_all(members)
    data = prepare(config, workspace, progress)
    for member in members:
        refuse_other_data(member, data)
    truth = label_oof(load_oof(members[0]), config, workspace)
    if len(truth.validated) < 2 or (np.sum(truth.validated, axis=0) != 1).any():
        raise KitError(
            run.label,
            "has one fold, or repeated folds",
            "The members of a fold's soup are chosen on the rows of the other folds",
            code="one_part",
        )
    with exclusive_lock(run.lock(NAME), "making a soup"):
        search = SoupSearch.open(members, run, config, data, truth, workspace, progress)
        try:
            chosen, evaluation = _choose(search, labels, NestedScorer(truth, config.decide), progress)
            about = {"members": list(labels), "made": now(), "commit": commit_of(workspace.root)}
            _write(search, run, chosen, config, evaluation, about)
        finally:
            shutil.rmtree(search.models.run.path, ignore_errors=True)
    predict(run, workspace, progress=progress)
    return Blended(run, evaluation)


def _config_of_all(members: Sequence[RunFolder]) -> Config:
    """Return the first member's config. Averaging the weights compares the architectures."""
    for member in members:
        if not member.config.exists():
            raise KitError(
                member.label,
                "is a blend",
                "A soup averages the weights of experiments",
                code="member_is_blend",
            )
    return load_config(members[0].config)


@dataclass
class SoupSearch:
    """Writes and scores soups, each once.

    Attributes:
        models: Models of a temporary run, which holds the current soup.
        tried: Members of a soup -> its OOF probabilities (N, C).
    """

    members: Sequence[RunFolder]
    models: ExperimentModels
    truth: LabeledPredictions
    tried: dict[MemberSet, np.ndarray] = field(default_factory=dict)

    @classmethod
    def open(
        cls,
        members: Sequence[RunFolder],
        run: RunFolder,
        config: Config,
        data: TrainingData,
        truth: LabeledPredictions,
        workspace: Workspace,
        progress: Progress,
    ) -> SoupSearch:
        """Return a search that uses a temporary folder in the run's folder."""
        trial = RunFolder(run.path / ".trial")
        return cls(members, open_models(config, trial, workspace, data, progress), truth)

    def probs(self, chosen: MemberSet) -> np.ndarray:
        """Return the OOF probabilities (N, C) of the soup of some members."""
        if chosen not in self.tried:
            for k in range(len(self.truth.validated)):
                self.write_soup(self.models.run, k, chosen)
            views = tuple(self.models.config.predict.tta)
            oof = self.models.predict_oof([views], self.truth.oof.origin)[0].oof
            self.tried[chosen] = oof.aligned_to(self.truth.oof.ids, self.truth.oof.classes, NAME).probs
        return self.tried[chosen]

    def write_soup(self, run: RunFolder, k: int, chosen: MemberSet) -> None:
        """Write the averaged weights of some members' fold k as the model of a run."""
        from kit.engine.models.checkpoints import save_mean

        members = [self.members[j] for j in chosen]
        models = [member.fold(k).model for member in members]
        save_mean(run.fold(k).model, models, asdict(model_identity(run, k)))
        scores = [fold.score for member in members if (fold := trained_fold(member, k))]
        done = {"ingredients": [member.label for member in members], "seconds": 0.0}
        config = self.models.config.model_copy(update={"name": run.name})
        inputs = {**inputs_of(self.models.data), "config": training_digest(config)}
        record_fold(run, k, done | {"score": float(np.mean(scores))}, inputs)

    def greedy(self, rows: np.ndarray, candidates: Sequence[int]) -> MemberSet:
        """Return the best member and each further member that improves the soup's score on ``rows``."""
        truth = self.truth.rows

        def value(chosen: MemberSet) -> float:
            return truth.subset(rows).value(self.probs(chosen)[rows])

        order = sorted(candidates, key=lambda j: -value((j,)))
        kept: MemberSet = (order[0],)
        for j in order[1:]:
            grown = tuple(sorted((*kept, j)))
            if value(grown) > value(kept):
                kept = grown
        return kept

    def nested(self, chosen: Sequence[MemberSet]) -> np.ndarray:
        """Return each row's probabilities (N, C) by the soup of its own fold."""
        probs = np.empty_like(self.truth.oof.probs)
        for own, members in zip(self.truth.validated, chosen, strict=True):
            probs[own] = self.probs(members)[own]
        return probs

    def choose(self, candidates: Sequence[int]) -> list[MemberSet]:
        """Return the members of each fold's soup, chosen on the rows of the other folds."""
        return [self.greedy(~own, candidates) for own in self.truth.validated]


def _choose(
    search: SoupSearch, labels: Sequence[str], scorer: NestedScorer, progress: Progress
) -> tuple[list[MemberSet], BlendEvaluation]:
    """Return the members of each fold's soup, and the evaluation of the soups."""
    all_members, truth = range(len(labels)), search.truth
    chosen = search.choose(all_members)
    for k, members in enumerate(chosen):
        progress.note(f"fold {k}: {' + '.join(labels[j] for j in members)}")
    all_rows = np.ones(len(truth.targets), dtype=bool)
    fitted_score = scorer.fitted_score(search.probs(search.greedy(all_rows, all_members)))
    shares = [[(j in members) / len(members) for j in all_members] for members in chosen]
    without = (search.nested(search.choose([i for i in all_members if i != j])) for j in all_members)
    alone = np.stack([search.probs((j,)) for j in all_members])
    data = BlendData(alone, truth.targets, truth.task, truth.metric)
    weights = np.mean(shares, axis=0)
    nested = search.nested(chosen)
    return chosen, compare_with_members(data, labels, nested, fitted_score, weights, without, scorer)


def _write(
    search: SoupSearch,
    run: RunFolder,
    chosen: Sequence[MemberSet],
    config: Config,
    evaluation: BlendEvaluation,
    about: dict[str, Any],
) -> None:
    """Write the soup as an experiment with trained folds, and as a blend."""
    run.remove_definition()
    forget(run, [])
    for k, members in enumerate(chosen):
        search.write_soup(run, k, members)
    named = config.model_copy(update={"name": run.name})
    record_training_data(run, search.models.data)
    command = shlex.join(["kit", "blend", *about["members"], "--method", NAME, "--name", run.name])
    values = {
        "method": {"name": NAME},
        **about,
        "command": command,
        "config": named.model_dump(),
        "worth": evaluation.as_dict(),
    }
    inputs = {
        f"{member.label} fold {k}": fold.model
        for member in search.members
        for k, fold in trained_folds(member, len(chosen), verify=False).items()
    }
    write_blend(run, values, inputs)
    write_text(run.config, config_yaml(named))  # after blend.json: alone it would make the run an experiment

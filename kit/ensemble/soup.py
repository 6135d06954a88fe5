"""Soups: the weights of experiments of one architecture, averaged into one model per fold.

Wortsman et al. 2022, "Model soups": a member's weights are added if the soup scores better with them. What
goes into a fold's soup is chosen on the other folds' validation rows, so that its out-of-fold predictions had
no part in the choice.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kit.config import Config
from kit.config.load import config_yaml, load_config
from kit.ensemble.blend import Blended, refuse_no_blend
from kit.ensemble.blend_data import Problem
from kit.ensemble.evaluate_blend import BlendWorth, Judge, beside_members
from kit.ensemble.methods import SOUP
from kit.errors import KitError
from kit.evaluation.oof_with_labels import Scored, scored
from kit.inference.fold_models import FoldModels, open_models
from kit.inference.predict import predict
from kit.predictions import load_predictions
from kit.runtime.environment import commit_of, now
from kit.runtime.progress import SILENT, Progress
from kit.storage.files import file_digest, read_json, write_json, write_text
from kit.storage.locks import only_one
from kit.storage.workspace import RunFolder, Workspace
from kit.training.data import TrainingData, prepare
from kit.training.run_state import refuse_other_data

Ingredients = tuple[int, ...]  # members by their number


def soup(
    members: Sequence[RunFolder], run: RunFolder, workspace: Workspace, progress: Progress = SILENT
) -> Blended:
    """Write one model per fold from the weights of several experiments, and what they predict.

    Args:
        members: Experiments of one architecture, trained on the same folds.
        run: The folder to write to: an experiment like others, and a blend.

    Raises:
        KitError: A member is a blend, is another network, was trained on other folds, or there is one fold.
    """
    members = sorted(members, key=lambda member: member.label)
    labels = [member.label for member in members]
    refuse_no_blend(labels, run)
    config = _config_of_all(members)
    data = prepare(config, workspace, progress)
    for member in members:
        refuse_other_data(member, data)
    truth = scored(load_predictions(members[0].oof), config, workspace)
    if len(truth.validated) < 2 or (np.sum(truth.validated, axis=0) != 1).any():
        raise KitError(
            run.label,
            "its folds are one, or repeated",
            "What goes into a fold's soup is chosen on the rows of the others",
        )
    with only_one(run.lock(SOUP), "making a soup"):
        pot = _Pot.on(members, run, config, data, truth, workspace, progress)
        try:
            chosen, worth = _chosen(pot, labels, Judge(truth, config.decide), progress)
            told = {"members": list(labels), "made": now(), "commit": commit_of(workspace.root)}
            _write(pot, run, chosen, config, worth, told)
        finally:
            shutil.rmtree(pot.models.run.path, ignore_errors=True)
    predict(run, workspace, progress=progress)
    return Blended(run, worth)


def _config_of_all(members: Sequence[RunFolder]) -> Config:
    """Return the first member's config; what must be the same in all of them is compared with the weights."""
    for member in members:
        if not member.config.exists():
            raise KitError(member.label, "is a blend", "A soup is made of the weights of experiments")
    return load_config(members[0].config)


@dataclass
class _Pot:
    """The soups that were tried, each once: which members are in it -> OOF probabilities (N, C)."""

    members: Sequence[RunFolder]
    models: FoldModels  # of a folder that holds the soup being tried
    truth: Scored
    tried: dict[Ingredients, np.ndarray] = field(default_factory=dict)

    @classmethod
    def on(
        cls,
        members: Sequence[RunFolder],
        run: RunFolder,
        config: Config,
        data: TrainingData,
        truth: Scored,
        workspace: Workspace,
        progress: Progress,
    ) -> _Pot:
        """Return a pot that tries soups in a folder beside those of the run's folds."""
        trial = RunFolder(run.path / ".trial")
        return cls(members, open_models(config, trial, workspace, data, progress), truth)

    def probs(self, ingredients: Ingredients) -> np.ndarray:
        """Return what each fold's soup of some members says of its validation rows."""
        if ingredients not in self.tried:
            for k in range(len(self.truth.validated)):
                self.cook(self.models.run, k, ingredients)
            question = tuple(self.models.config.predict.tta)
            answer = self.models.of_validation_rows([question], self.truth.oof.origin)[0].oof
            self.tried[ingredients] = answer.aligned_to(
                self.truth.oof.ids, self.truth.oof.classes, SOUP
            ).probs
        return self.tried[ingredients]

    def cook(self, run: RunFolder, k: int, ingredients: Ingredients) -> None:
        """Write the mean of some members' weights of fold k as the model of a run."""
        from kit.engine.models.checkpoints import save_mean

        folder = run.fold(k)
        save_mean(folder.model, [self.members[j].fold(k).model for j in ingredients])
        labels = [self.members[j].label for j in ingredients]
        score = [read_json(self.members[j].fold(k).done)["score"] for j in ingredients]
        done = {"fold": k, "model": file_digest(folder.model), "ingredients": labels, "seconds": 0.0}
        write_json(folder.done, done | {"score": float(np.mean(score))})

    def greedy(self, rows: np.ndarray, candidates: Sequence[int]) -> Ingredients:
        """Return the members whose soup was grown as long as it scored better on some of the rows."""
        truth = self.truth.rows

        def value(ingredients: Ingredients) -> float:
            return truth.only(rows).value(self.probs(ingredients)[rows])

        order = sorted(candidates, key=lambda j: -value((j,)))
        kept: Ingredients = (order[0],)
        for j in order[1:]:
            grown = tuple(sorted((*kept, j)))
            if value(grown) > value(kept):
                kept = grown
        return kept

    def nested(self, chosen: Sequence[Ingredients]) -> np.ndarray:
        """Return each row's probabilities (N, C) by the soup of its own fold."""
        probs = np.empty_like(self.truth.oof.probs)
        for own, ingredients in zip(self.truth.validated, chosen, strict=True):
            probs[own] = self.probs(ingredients)[own]
        return probs

    def chosen(self, candidates: Sequence[int]) -> list[Ingredients]:
        """Return what goes into each fold's soup, chosen on the rows of the other folds."""
        return [self.greedy(~own, candidates) for own in self.truth.validated]


def _chosen(
    pot: _Pot, labels: Sequence[str], judge: Judge, progress: Progress
) -> tuple[list[Ingredients], BlendWorth]:
    """Return what goes into each fold's soup, and what that is worth beside the members."""
    everyone, truth = range(len(labels)), pot.truth
    chosen = pot.chosen(everyone)
    for k, ingredients in enumerate(chosen):
        progress.note(f"fold {k}: {' + '.join(labels[j] for j in ingredients)}")
    all_rows = np.ones(len(truth.targets), dtype=bool)
    shown = judge.fitted_score(pot.probs(pot.greedy(all_rows, everyone)))
    shares = [[(j in ingredients) / len(ingredients) for j in everyone] for ingredients in chosen]
    without = (pot.nested(pot.chosen([i for i in everyone if i != j])) for j in everyone)
    problem = Problem(np.stack([pot.probs((j,)) for j in everyone]), truth.targets, truth.task, truth.metric)
    weights = np.mean(shares, axis=0)
    worth = beside_members(problem, labels, pot.nested(chosen), shown, weights, without, judge)
    return chosen, worth


def _write(
    pot: _Pot,
    run: RunFolder,
    chosen: Sequence[Ingredients],
    config: Config,
    worth: BlendWorth,
    told: dict[str, Any],
) -> None:
    """Write the soup as an experiment whose folds are trained, and as a blend, of which more is told."""
    for k, ingredients in enumerate(chosen):
        pot.cook(run, k, ingredients)
    named = config.model_copy(update={"name": run.name})
    run.forget_scores()
    write_text(run.config, config_yaml(named))
    write_json(run.training_data, read_json(pot.members[0].training_data))
    values = {"method": {"name": SOUP}, **told, "config": named.model_dump(), "worth": worth.as_dict()}
    write_json(run.blend, values)

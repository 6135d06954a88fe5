"""Stacking: a model that reads the members' logits and says the label."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from kit.ensemble.blend_data import Combination, Problem

Learner = Literal["logistic", "boosting"]
EPSILON = 1e-6


def stacked(problem: Problem, learner: Learner, strength: float) -> Combination:
    """Return the combination that a model learned on the members' logits makes.

    A class that the rows lack gets no probability from the model; where only one class or one kind of label
    occurs, that is what it answers.
    """
    features = _features(problem.members, problem.task.exclusive)
    truth = problem.targets if problem.task.exclusive else problem.targets.T
    num_classes = problem.members.shape[2]
    if problem.task.exclusive:
        model = _fitted(features, truth, learner, strength, problem.seed)
        return Combination(lambda members: _spread(model, _features(members, True), num_classes))
    models = [_fitted(features, labels, learner, strength, problem.seed) for labels in truth]

    def combine(members: np.ndarray) -> np.ndarray:
        inputs = _features(members, False)
        return np.stack([_spread(model, inputs, 2)[:, 1] for model in models], axis=1)

    return Combination(combine)


def _features(members: np.ndarray, exclusive: bool) -> np.ndarray:
    """Return the logits of all members side by side, (N, M * C); of exclusive classes around their mean."""
    probs = np.clip(members.astype(np.float64), EPSILON, 1 - EPSILON)
    logits = np.log(probs) - (np.log(probs).mean(axis=2, keepdims=True) if exclusive else np.log1p(-probs))
    return np.asarray(logits.transpose(1, 0, 2).reshape(logits.shape[1], -1))


def _fitted(features: np.ndarray, labels: np.ndarray, learner: Learner, strength: float, seed: int) -> Any:
    """Return a scikit-learn classifier, or the only label there is."""
    if len(np.unique(labels)) == 1:
        return int(labels[0])
    return _model(learner, strength, seed).fit(features, labels.astype(np.int64))


def _model(learner: Learner, strength: float, seed: int) -> Any:
    if learner == "logistic":
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        return make_pipeline(StandardScaler(), LogisticRegression(C=0.1 / strength, max_iter=2000))
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(
        max_iter=100, learning_rate=0.05, l2_regularization=strength, max_leaf_nodes=15, random_state=seed
    )


def _spread(model: Any, features: np.ndarray, num_classes: int) -> np.ndarray:
    """Return the model's probabilities (N, num_classes), next to nothing for classes that it has not seen."""
    probs = np.full((len(features), num_classes), EPSILON)
    if isinstance(model, int):
        probs[:, model] = 1 - EPSILON
    else:
        probs[:, model.classes_] = model.predict_proba(features)
    return probs

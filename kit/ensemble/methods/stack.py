"""Method ``stack``: a model of the labels on the members' predictions (Wolpert 1992)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from kit.ensemble.blend_data import BlendData, Combination
from kit.ensemble.methods.registry import register_method
from kit.errors import KitError

Learner = Literal["auto", "logistic", "ridge", "boosting"]
EPSILON = 1e-6


@register_method("stack", learns=True, number=True)
def stack(
    data: BlendData,
    *,
    model: Learner = "auto",
    strength: Annotated[float, Field(gt=0, le=1e6)] = 1.0,
) -> Combination:
    """Return a model of the labels on the members' logits, or of the numbers on the members' numbers.

    Wolpert 1992, "Stacked generalization".

    Args:
        model: ``logistic`` regression for classes, ``ridge`` regression for numbers (``auto``: the one that
            suits), or gradient ``boosting`` on histograms.
        strength: Strength of the regularization.

    Raises:
        KitError: The model does not suit the task.
    """
    linear = "ridge" if data.task.numeric else "logistic"
    if model not in ("auto", "boosting", linear):
        raise KitError(
            "--option model",
            f"is {model}, and the task is {data.task.name}",
            f"Suitable: {linear}, boosting",
            code="option_invalid",
        )
    learner = linear if model == "auto" else model
    return (
        _stacked_numbers(data, learner, strength) if data.task.numeric else stacked(data, learner, strength)
    )


def _stacked_numbers(data: BlendData, learner: str, strength: float) -> Combination:
    """Return a regression of what the members' mean lacks on the members' numbers.

    All members have one unit, the standard deviation of the targets: a nearly constant member stays small.
    Regularization pulls the result towards the plain mean.
    """
    offset, unit = float(data.targets.mean()), float(data.targets.std()) or 1.0
    model = _regressor(learner, strength, data.seed)

    def features(members: np.ndarray) -> np.ndarray:
        return np.asarray((members[:, :, 0].T.astype(np.float64) - offset) / unit)

    def combine(members: np.ndarray) -> np.ndarray:
        inputs = features(members)
        return np.asarray((inputs.mean(axis=1) + model.predict(inputs)) * unit + offset)[:, None]

    own = features(data.members)
    model.fit(own, (data.targets[:, 0] - offset) / unit - own.mean(axis=1))
    return Combination(combine)


def _regressor(learner: str, strength: float, seed: int) -> Any:
    if learner == "ridge":
        from sklearn.linear_model import Ridge

        return Ridge(alpha=strength)
    from sklearn.ensemble import HistGradientBoostingRegressor

    return HistGradientBoostingRegressor(
        max_iter=100, learning_rate=0.05, l2_regularization=strength, max_leaf_nodes=15, random_state=seed
    )


def stacked(data: BlendData, learner: str, strength: float) -> Combination:
    """Return a model that is fitted on the members' logits.

    A class without rows gets probability ``EPSILON``. If the rows have only one class or label value, the
    model always predicts it.
    """
    features = _features(data.members, data.task.exclusive)
    truth = data.targets if data.task.exclusive else data.targets.T
    num_classes = data.members.shape[2]
    if data.task.exclusive:
        weights = None
        if data.task.soft:  # a row per image and class, weighted by the share of the class
            rows, truth = np.nonzero(data.targets)
            features, weights = features[rows], data.targets[rows, truth]
        model = _fitted(features, truth, learner, strength, data.seed, weights)
        return Combination(lambda members: _predict(model, _features(members, True), num_classes))
    models = [_fitted(features, labels, learner, strength, data.seed) for labels in truth]

    def combine(members: np.ndarray) -> np.ndarray:
        inputs = _features(members, False)
        return np.stack([_predict(model, inputs, 2)[:, 1] for model in models], axis=1)

    return Combination(combine)


def _features(members: np.ndarray, exclusive: bool) -> np.ndarray:
    """Return the concatenated logits of all members, (N, M * C); for exclusive classes, centered per row."""
    probs = np.clip(members.astype(np.float64), EPSILON, 1 - EPSILON)
    logits = np.log(probs) - (np.log(probs).mean(axis=2, keepdims=True) if exclusive else np.log1p(-probs))
    return np.asarray(logits.transpose(1, 0, 2).reshape(logits.shape[1], -1))


def _fitted(
    features: np.ndarray,
    labels: np.ndarray,
    learner: str,
    strength: float,
    seed: int,
    weights: np.ndarray | None = None,
) -> Any:
    """Return a fitted scikit-learn classifier, or the label if only one occurs.

    Args:
        weights: The weight of each row, (N,); None: all 1.
    """
    if len(np.unique(labels)) == 1:
        return int(labels[0])
    model = _model(learner, strength, seed)
    weighted = {} if weights is None else {f"{model.steps[-1][0]}__sample_weight": weights}
    return model.fit(features, labels.astype(np.int64), **weighted)


def _model(learner: str, strength: float, seed: int) -> Any:
    from sklearn.pipeline import make_pipeline

    if learner == "logistic":
        from sklearn.linear_model import LogisticRegression
        from sklearn.preprocessing import StandardScaler

        return make_pipeline(StandardScaler(), LogisticRegression(C=0.1 / strength, max_iter=2000))
    from sklearn.ensemble import HistGradientBoostingClassifier

    boosting = HistGradientBoostingClassifier(
        max_iter=100, learning_rate=0.05, l2_regularization=strength, max_leaf_nodes=15, random_state=seed
    )
    return make_pipeline(boosting)


def _predict(model: Any, features: np.ndarray, num_classes: int) -> np.ndarray:
    """Return the model's probabilities (N, num_classes); ``EPSILON`` for classes without training rows."""
    probs = np.full((len(features), num_classes), EPSILON)
    if isinstance(model, int):
        probs[:, model] = 1 - EPSILON
    else:
        probs[:, model.classes_] = model.predict_proba(features)
    return probs

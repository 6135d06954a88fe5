"""The methods by name. What fits weights or models lies in modules of its own; what is fixed is here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from kit.config import Component
from kit.ensemble.blend_data import Combination, Method, Problem, methods, register_method, weighted
from kit.ensemble.hill_climb import climbed_weights
from kit.ensemble.stack import Learner, stacked
from kit.ensemble.weights import simplex_weights
from kit.errors import KitError
from kit.registry import unknown_name

__all__ = ["Method", "methods"]

OPTION = "--option"
SOUP = "soup"  # blends weights, not predictions, and so lies elsewhere
FLOOR = np.finfo(np.float32).tiny


def method_of(name: str, options: Sequence[str]) -> Component:
    """Return a method with its options, each ``key=value`` with the value in YAML.

    Raises:
        KitError: There is no such method, or an option has no key or is no YAML.
    """
    import yaml

    if name not in (*methods, SOUP):
        raise unknown_name("--method", "blend method", name, (*methods, SOUP))

    values: dict[str, Any] = {"name": name}
    for option in options:
        key, equals, text = option.partition("=")
        if key.strip() == "name":
            raise KitError(f"{OPTION} {option}", "is no option", "The method is --method's")
        if not equals or not key.strip():
            raise KitError(
                f"{OPTION} {option}", "has no key or no '='", f"The form is {OPTION} negative=true"
            )
        try:
            values[key.strip()] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise KitError(
                f"{OPTION} {option}", "is not valid YAML", f"The form is {OPTION} steps=50"
            ) from error
    return Component.model_validate(values)


@register_method("mean", learns=False)
def mean(problem: Problem) -> Combination:
    """Return the arithmetic mean of the members' probabilities."""
    return weighted(np.full(len(problem.members), 1 / len(problem.members)))


@register_method("gmean", learns=False)
def gmean(problem: Problem) -> Combination:
    """Return the geometric mean of the probabilities, which one doubtful member pulls down."""

    def combine(members: np.ndarray) -> np.ndarray:
        logs = sum(np.log(np.maximum(member, FLOOR)) for member in members)
        return np.asarray(np.exp(logs / len(members)))

    return Combination(combine)


@register_method("power", learns=False)
def power(problem: Problem, *, exponent: Annotated[float, Field(gt=0, le=20)] = 2.0) -> Combination:
    """Return the power mean of the probabilities: above 1, the members that are surer count more."""

    def combine(members: np.ndarray) -> np.ndarray:
        total = sum(member.astype(np.float64) ** exponent for member in members)
        return np.asarray((total / len(members)) ** (1 / exponent))

    return Combination(combine)


@register_method("rank", learns=False)
def rank(problem: Problem) -> Combination:
    """Return the mean of the members' ranks within each class, for a metric that looks at the order alone.

    A rank is a share of the rows predicted together: of a fold, or of the test images.
    """
    from scipy.stats import rankdata

    def combine(members: np.ndarray) -> np.ndarray:
        ranks = sum(rankdata(member, axis=0) for member in members)
        return np.asarray((ranks / len(members) - 0.5) / members.shape[1])

    return Combination(combine)


@register_method("weights", learns=True)
def weights(problem: Problem) -> Combination:
    """Return the weighted mean with the weights, at least 0 and summing to 1, that score best."""
    return weighted(simplex_weights(problem))


@register_method("hill_climb", learns=True)
def hill_climb(
    problem: Problem,
    *,
    steps: Annotated[int, Field(ge=1)] = 100,
    bags: Annotated[int, Field(ge=1)] = 10,
    share: Annotated[float, Field(gt=0, le=1)] = 0.5,
    warm: Annotated[int, Field(ge=1)] = 5,
    negative: bool = False,
) -> Combination:
    """Return the weighted mean that greedy selection with replacement ends at (Caruana et al. 2004).

    Args:
        steps: Members taken, one after the other; the best set on the way counts.
        bags: Selections, each among some of the members, averaged; 1: one among all.
        share: How many of the members a bag has.
        warm: How many of the best members a selection may begin with.
        negative: Whether members may also be subtracted.
    """
    return weighted(climbed_weights(problem, steps, bags, share, warm, negative))


@register_method("stack", learns=True)
def stack(
    problem: Problem,
    *,
    model: Learner = "logistic",
    strength: Annotated[float, Field(gt=0, le=1e6)] = 1.0,
) -> Combination:
    """Return a model of the labels on the members' logits (Wolpert 1992, "Stacked generalization").

    Args:
        model: ``logistic`` regression, or gradient ``boosting`` on histograms.
        strength: Of its regularisation.
    """
    return stacked(problem, model, strength)

"""Choose the next config to try: start values first, then Optuna's TPE on the scores of earlier trials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kit.auto.candidates import Candidate
from kit.auto.choices import Choice
from kit.auto.journal import Trial
from kit.runtime.extras import require_extra

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.study import Study

NETWORK = "network"
FEWEST_FOR_IMPORTANCE = 8  # trials
IMPORTANCE_DRAWS = 20
STARTUP_TRIALS = 6  # trials before the Tree-structured Parzen Estimator takes over from random draws


def require_optuna(command: str) -> None:
    """Check that Optuna is installed, which a command needs.

    Raises:
        KitError: It is not.
    """
    require_extra(command, "kit[tune]", "optuna", why="The search for better settings is Optuna's")
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)


def start_params(candidates: Sequence[Candidate], choices: Sequence[Choice]) -> list[dict[str, Any]]:
    """Return the configs to try first: the best networks with proven values, large and small images.

    Args:
        candidates: Best first.
    """
    starts = proven_params(candidates[:3], choices)
    if starts and "size" in starts[0]:
        starts.insert(1, {**starts[0], "size": 0.6})
    return starts


def proven_params(candidates: Sequence[Candidate], choices: Sequence[Choice]) -> list[dict[str, Any]]:
    """Return each network with the values that have proven good on other data."""
    proven = {choice.name: choice.prior for choice in choices}
    return [{NETWORK: each.model, **proven} for each in candidates]


def next_params(
    candidates: Sequence[Candidate],
    choices: Sequence[Choice],
    trials: Sequence[Trial],
    higher_is_better: bool,
    seed: int,
) -> dict[str, Any]:
    """Return the parameters of the next trial; the same trials and seed give the same parameters."""
    import optuna

    tried = [trial.params for trial in trials]
    for params in start_params(candidates, choices):
        if params not in tried:
            return params
    networks = [each.model for each in candidates]
    distributions = _distributions(networks, choices)
    sampler = optuna.samplers.TPESampler(
        seed=seed + len(trials), n_startup_trials=STARTUP_TRIALS, multivariate=True
    )
    known = [trial for trial in trials if trial.params[NETWORK] in networks]
    study = _study(known, distributions, higher_is_better, sampler)
    return dict(study.ask(distributions).params)


@dataclass(frozen=True)
class Importance:
    """How much of the variation of the trials' scores a choice explains, 0 to 1, with a 90 % interval."""

    name: str
    share: float
    low: float
    high: float


def importances(
    trials: Sequence[Trial], choices: Sequence[Choice], higher_is_better: bool
) -> list[Importance]:
    """Return the importance of each choice, the largest first; none for too few trials.

    Functional ANOVA of random forests (Hutter, Hoos & Leyton-Brown 2014); the interval comes from trials
    drawn with replacement.
    """
    import optuna

    done = [trial for trial in trials if trial.score is not None]
    networks = sorted({trial.params[NETWORK] for trial in done})
    if len(done) < FEWEST_FOR_IMPORTANCE:
        return []
    distributions = _distributions(networks, choices)
    rng = np.random.default_rng(0)
    draws = []
    for number in range(IMPORTANCE_DRAWS):
        drawn = [done[i] for i in rng.integers(len(done), size=len(done))]
        if len({trial.score for trial in drawn}) < 2:
            continue
        study = _study(drawn, distributions, higher_is_better, optuna.samplers.RandomSampler(seed=0))
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=number, n_trees=16)
        draws.append(optuna.importance.get_param_importances(study, evaluator=evaluator))
    found = []
    for name in distributions if draws else ():
        values = [draw.get(name, 0.0) for draw in draws]
        low, high = np.quantile(values, [0.05, 0.95])
        found.append(Importance(name, float(np.mean(values)), float(low), float(high)))
    return sorted(found, key=lambda each: -each.share)


def _distributions(networks: Sequence[str], choices: Sequence[Choice]) -> dict[str, BaseDistribution]:
    from optuna.distributions import CategoricalDistribution

    return {
        NETWORK: CategoricalDistribution(networks),
        **{choice.name: choice.distribution() for choice in choices},
    }


def _study(
    trials: Sequence[Trial],
    distributions: dict[str, BaseDistribution],
    higher_is_better: bool,
    sampler: BaseSampler,
) -> Study:
    """Return a study of the trials that have a score and fit the distributions."""
    import optuna

    study = optuna.create_study(direction="maximize" if higher_is_better else "minimize", sampler=sampler)
    for trial in trials:
        if trial.score is not None and trial.params.keys() == distributions.keys():
            study.add_trial(
                optuna.trial.create_trial(params=trial.params, distributions=distributions, value=trial.score)
            )
    return study

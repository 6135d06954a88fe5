"""Choose the next config to try: start values first, then Optuna's TPE on the scores of earlier trials."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kit.auto.candidates import Candidate
from kit.auto.choices import Choice
from kit.auto.journal import Trial
from kit.errors import KitError

NETWORK = "network"
STARTUP_TRIALS = 6  # trials before the Tree-structured Parzen Estimator takes over from random draws


def require_optuna(command: str) -> None:
    """Check that Optuna is installed, which a command needs.

    Raises:
        KitError: It is not.
    """
    try:
        import optuna
    except ImportError as error:
        raise KitError(
            command,
            "needs the package optuna",
            "The search for better settings is Optuna's",
            "pip install 'kit[tune]'",
            code="extra_missing",
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def start_params(candidates: Sequence[Candidate], choices: Sequence[Choice]) -> list[dict[str, Any]]:
    """Return the configs to try first: the best networks with proven values, large and small images.

    Args:
        candidates: Best first.
    """
    proven = {choice.name: choice.prior for choice in choices}
    starts = [{NETWORK: each.model, **proven} for each in candidates[:3]]
    if starts and "size" in proven:
        starts.insert(1, {**starts[0], "size": 0.6})
    return starts


def next_params(
    candidates: Sequence[Candidate],
    choices: Sequence[Choice],
    trials: Sequence[Trial],
    higher_is_better: bool,
    seed: int,
) -> dict[str, Any]:
    """Return the parameters of the next trial; the same trials and seed give the same parameters."""
    import optuna
    from optuna.distributions import CategoricalDistribution

    tried = [trial.params for trial in trials]
    for params in start_params(candidates, choices):
        if params not in tried:
            return params
    names = [each.model for each in candidates]
    distributions = {
        NETWORK: CategoricalDistribution(names),
        **{choice.name: choice.distribution() for choice in choices},
    }
    sampler = optuna.samplers.TPESampler(
        seed=seed + len(trials), n_startup_trials=STARTUP_TRIALS, multivariate=True
    )
    study = optuna.create_study(direction="maximize" if higher_is_better else "minimize", sampler=sampler)
    for trial in trials:
        if trial.score is not None and trial.params.get(NETWORK) in names:
            study.add_trial(
                optuna.trial.create_trial(params=trial.params, distributions=distributions, value=trial.score)
            )
    return dict(study.ask(distributions).params)

"""Divide the time left between searching on one fold and training the best configs on all folds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kit.auto.candidates import Candidate
from kit.auto.choices import SIZES, scaled_size
from kit.auto.journal import Scored
from kit.auto.search import NETWORK, proven_params
from kit.errors import counted
from kit.runtime.deadline import duration
from kit.storage.files import format_bytes

if TYPE_CHECKING:
    from kit.auto.session import Session

FIRST_SHARE = 0.1  # of the time, for the first submission
FIRST_SECONDS = 300.0
SAFETY = 0.8  # of the time, planned; the rest covers what measurements underestimate
FIRST_SIZES = (
    (1.0, 0.0),
    (0.8, 3.0),
    (0.6, 8.0),
)  # fraction of the native size, and the top-1 points it may cost
HEADS_SHARE = 0.3
SEARCH_SHARE = 0.35  # at most; what the best network needs for all of its epochs comes first
TRIAL_SHARE = 1 / 3  # of the training time of a fold in the end, for a trial
FULL_EPOCHS = 16  # of a pretrained network; more add less than another network does
EARLY_SHARE = 0.25  # of the time, for networks from scratch before anything is searched
MOST_EPOCHS = 60  # of a network from scratch
FEWEST_TRIAL_EPOCHS = 3  # with fewer, a trial ranks how fast networks begin
WORTH_SEARCHING = 2.5  # times the full training of the best network: with less time, proven values are better
LEAST_SIZE = 0.8  # of a network's own size; with smaller images a whole network is below its own head
LONG_ENOUGH = ((3600.0, 3), (900.0, 2), (0.0, 1))  # seconds left -> how many configs to train on all folds


@dataclass(frozen=True)
class FirstStep:
    """The network of the first submission.

    Attributes:
        scale: The image size as a fraction of the network's own.
        epochs: Above 0 if the whole network is trained.
    """

    candidate: Candidate
    scale: float
    size: int
    epochs: int
    seconds: float


def first_step(session: Session) -> FirstStep:
    """Return the most accurate network that is fast enough for the first submission; else the fastest one."""
    limit = SAFETY * (min(FIRST_SHARE * session.total, FIRST_SECONDS) - session.total + session.deadline.left)
    steps = []
    for candidate in session.candidates:
        for factor, penalty in FIRST_SIZES if candidate.pretrained else FIRST_SIZES[:1]:
            steps.append((candidate.top1 - penalty, _first_with(session, candidate, factor, limit)))
    fitting = [(promise, step) for promise, step in steps if step.seconds <= limit]
    if fitting:
        return max(fitting, key=lambda each: each[0])[1]
    return min((step for _, step in steps), key=lambda step: step.seconds)


def _first_with(session: Session, candidate: Candidate, scale: float, limit: float) -> FirstStep:
    costs, work = session.costs, session.work
    size = scaled_size(session.recipes.native_size(candidate), scale)
    if session.has_features(candidate):
        return FirstStep(candidate, scale, size, 0, costs.head(candidate.model, size, work))
    one = costs.experiment(candidate.model, size, 1, session.num_views, work)
    more = (limit - one) / (work.rounds * costs.epoch(candidate.model, size, work))
    epochs = 1 + max(0, min(MOST_EPOCHS - 1, int(more)))
    seconds = costs.experiment(candidate.model, size, epochs, session.num_views, work)
    return FirstStep(candidate, scale, size, epochs, seconds)


def heads_seconds(session: Session) -> float:
    """Return the time for heads: a share, or all that is left if no whole network can be trained in it."""
    left = session.usable
    fastest = min(least_seconds(session, each) for each in session.candidates)
    return left if fastest > SAFETY * (1 - HEADS_SHARE) * left else HEADS_SHARE * left


@dataclass(frozen=True)
class Plan:
    """How the time left is used.

    Attributes:
        networks: Those fast enough to be trained as a whole.
        searched: Those fast enough for trials.
        num_whole: The number of configs to train on all folds.
    """

    networks: list[str]
    searched: list[str]
    search_seconds: float
    trial_seconds: float
    num_trials: int
    num_whole: int
    whole_seconds: float

    def text(self) -> str:
        """Return the plan as a sentence."""
        whole = f"{counted(self.num_whole, 'config')} on all folds in {duration(self.whole_seconds)}"
        if not self.num_trials:
            return whole
        trials = f"{counted(self.num_trials, 'trial')} on one fold in {duration(self.search_seconds)}"
        return f"{trials}, then {whole}"

    def confirmed(self, session: Session) -> Iterator[dict[str, Any]]:
        """Yield the params to train on all folds: the best trials, or each network with proven values."""
        sign = -1 if session.data.competition.metric.higher_is_better else 1
        trials = [
            t for t in session.journal.trials if t.score is not None and t.params[NETWORK] in self.networks
        ]
        ranked = [trial.params for trial in sorted(trials, key=lambda t: sign * (t.score or 0.0))]
        networks = [each for each in session.candidates if each.model in self.networks]
        ranked = ranked or proven_params(networks, session.choices)
        firsts = list({params[NETWORK]: params for params in reversed(ranked)}.values())[::-1]
        done = [each.params for each in session.journal.scored]
        wanted = [*firsts[:2], *[params for params in ranked if params not in firsts[:2]]]
        new = [params for params in wanted if params not in done]
        yield from (new or ranked)[: self.num_whole]


def plan_of(session: Session, searched: bool) -> Plan | None:
    """Return the plan for the time left, or None if no network can be trained as a whole any more.

    The best network is trained with proven values first; then other values and networks are searched, if
    much time is left.

    Args:
        searched: Whether this run has searched already.
    """
    left = SAFETY * session.usable
    affordable = [
        each
        for each in session.candidates
        if least_seconds(session, each) <= left and _fits_memory(session, each)
    ]
    if not affordable:
        return None
    networks = [each.model for each in affordable]
    num_whole = next(number for seconds, number in LONG_ENOUGH if left >= seconds)
    full = full_seconds(session, affordable[0])
    wholes = [each for each in session.experiments if each.kind == "whole"]
    if not wholes:
        return Plan(networks, [], 0.0, 0.0, 0, 1, min(left, full))
    if _is_underfitted(session, wholes):
        return Plan(networks, [], 0.0, 0.0, 0, 1, min(EARLY_SHARE * left, full))
    search = SEARCH_SHARE * left
    trial = TRIAL_SHARE * (left - search) / num_whole / session.work.rounds
    tried = [each.model for each in affordable if _trial_epochs(session, each, trial) >= FEWEST_TRIAL_EPOCHS]
    if searched or not tried or left < WORTH_SEARCHING * full:
        return Plan(networks, [], 0.0, 0.0, 0, num_whole, left)
    return Plan(networks, tried, search, trial, int(search / trial), num_whole, left - search)


def _is_underfitted(session: Session, wholes: Sequence[Scored]) -> bool:
    """Return whether all that is trained is the first submission, of a network from scratch in few epochs.

    A longer training comes first then, so that the submission is worth something whatever happens later.
    """
    has_head = any(each.kind == "head" for each in session.experiments)
    return not has_head and len(wholes) == 1 and wholes[0].epochs < session.recipes.fewest_epochs


def _trial_epochs(session: Session, candidate: Candidate, seconds: float) -> int:
    params = {NETWORK: candidate.model} | ({"size": min(SIZES)} if candidate.pretrained else {})
    return epochs_within(session, params, seconds)


def _fits_memory(session: Session, candidate: Candidate) -> bool:
    """Return whether a network can be trained on one image at a time; if not, learn so."""
    size = scaled_size(session.recipes.native_size(candidate), LEAST_SIZE if candidate.pretrained else 1.0)
    if session.fits_memory(candidate, size):
        return True
    needed = format_bytes(round(session.costs.memory_per_image(candidate.model, size)))
    session.learn(f"{candidate.model} is trained as a head only: one image at {size} px needs {needed}")
    return False


def least_seconds(session: Session, candidate: Candidate) -> float:
    """Return the seconds of the fewest epochs that are worth it, on all folds, with the smallest images."""
    params = {NETWORK: candidate.model} | ({"size": LEAST_SIZE} if candidate.pretrained else {})
    return seconds_of(session, params, session.fewest_epochs(candidate.model))


def full_seconds(session: Session, candidate: Candidate) -> float:
    """Return the seconds of as many epochs as a network can use, on all folds, at its own image size."""
    epochs = max(FULL_EPOCHS, session.fewest_epochs(candidate.model))
    return seconds_of(session, {NETWORK: candidate.model}, epochs)


def _most_epochs(session: Session, candidate: Candidate) -> int:
    """Return the epochs above which a network gains less than another network would add."""
    return max(FULL_EPOCHS, session.recipes.fewest_epochs) if candidate.pretrained else MOST_EPOCHS


def seconds_of(session: Session, params: Mapping[str, Any], epochs: int) -> float:
    """Return the estimated seconds of training and predicting a config on all folds."""
    candidate = session.candidate(params[NETWORK])
    size = scaled_size(session.recipes.native_size(candidate), params.get("size", 1.0))
    return session.costs.experiment(candidate.model, size, epochs, session.num_views, session.work)


def epochs_within(
    session: Session, params: Mapping[str, Any], seconds: float, all_folds: bool = False
) -> int:
    """Return how many epochs fit into some seconds, at most as many as the network can use.

    Args:
        all_folds: All folds are trained and predicted, instead of one that is trained.
    """
    costs, work, candidate = session.costs, session.work, session.candidate(params[NETWORK])
    size = scaled_size(session.recipes.native_size(candidate), params.get("size", 1.0))
    epoch = costs.epoch(candidate.model, size, work)
    most = _most_epochs(session, candidate)
    if not all_folds:
        return min(most, int((seconds - costs.start) / epoch))
    others = seconds_of(session, params, epochs=0)
    return min(most, int((SAFETY * seconds - others) / (work.rounds * epoch)))


def largest_within(session: Session, params: Mapping[str, Any], seconds: float) -> tuple[dict[str, Any], int]:
    """Return params with the largest images that leave enough epochs on all folds, and the epochs.

    Images are not larger than in ``params``. If no size leaves enough, the smallest is returned.
    """
    smaller_sizes = [size for size in sorted(SIZES, reverse=True) if size < params.get("size", 0.0)]
    for tried in (dict(params), *({**params, "size": size} for size in smaller_sizes)):
        epochs = epochs_within(session, tried, seconds, all_folds=True)
        if epochs >= session.fewest_epochs(tried[NETWORK]):
            break
    return tried, epochs

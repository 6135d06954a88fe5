"""Train heads of frozen networks: a cheap comparison of networks, and members of a blend."""

from __future__ import annotations

from kit.auto.candidates import Candidate
from kit.auto.choices import scaled_size
from kit.auto.finish import combine_and_submit
from kit.auto.plan import heads_seconds
from kit.auto.session import Session
from kit.errors import counted
from kit.runtime.deadline import duration

HEAD_SIZES = (1.0, 0.8, 0.6)  # of a network's own image size, the first that fits the time
LARGER = 1.25


def train_heads(session: Session) -> None:
    """Train heads on the features of each network: a cheap comparison, and members of a blend."""
    heads = sorted(
        (each for each in session.journal.scored if each.kind == "head"), key=lambda each: each.size
    )
    largest = {each.network: each.size for each in heads}
    todo = [
        each
        for each in session.candidates
        if session.has_features(each) and largest.get(each.model, 0.0) < 1.0
    ]
    allowed = heads_seconds(session)
    if not todo or allowed <= 0:
        return
    session.progress.stage("heads", f"{counted(len(todo), 'network')} with frozen features")
    ends = session.deadline.left - allowed
    for candidate in sorted(todo, key=lambda each: _head_seconds(session, each, 1.0)):
        room = session.deadline.left - ends
        fitting = [s for s in HEAD_SIZES if _head_seconds(session, candidate, s) <= room]
        if not fitting or fitting[0] <= largest.get(candidate.model, 0.0):
            cost = duration(_head_seconds(session, candidate, HEAD_SIZES[-1]))
            session.learn(f"no head of {candidate.model}: with small images it takes about {cost}")
            continue
        _train_head(session, candidate, fitting[0])


def train_larger_heads(session: Session, share: float = 1.0) -> None:
    """Train heads on images larger than the networks' own, as many as fit into a share of the time left."""
    ends = (1 - share) * session.usable
    for candidate in session.candidates:
        done = [each for each in session.journal.scored if each.kind == "head"]
        if not session.has_features(candidate) or LARGER in {
            each.size for each in done if each.network == candidate.model
        }:
            continue
        if _head_seconds(session, candidate, LARGER) <= session.usable - ends:
            _train_head(session, candidate, LARGER)


def _head_seconds(session: Session, candidate: Candidate, scale: float) -> float:
    size = scaled_size(session.recipes.native_size(candidate), scale)
    return session.costs.head(candidate.model, size, session.work)


def _train_head(session: Session, candidate: Candidate, scale: float) -> None:
    name = session.new_name("head")
    size = scaled_size(session.recipes.native_size(candidate), scale)
    config = session.recipes.head(name, candidate, size)
    cost = _head_seconds(session, candidate, scale)
    session.begin(f"{name}: {candidate.model} at {size} px, head only, about {duration(cost)}")
    scored = session.run_all_folds(config, "head", {"size": scale}, cost)
    if scored is not None:
        session.say(f"{candidate.model} at {size} px, head only: {session.metric} {scored.cv:.4f}")
        combine_and_submit(session)

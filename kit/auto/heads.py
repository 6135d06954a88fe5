"""Train heads of frozen networks: a cheap comparison of networks, and members of a blend."""

from __future__ import annotations

from typing import Any

from kit.auto.candidates import Candidate
from kit.auto.choices import scaled_size
from kit.auto.finish import combine_and_submit
from kit.auto.plan import heads_seconds
from kit.auto.session import Session
from kit.errors import counted
from kit.runtime.deadline import duration

HEAD_SIZES = (1.0, 0.8, 0.6)  # of a network's own image size, the first that fits the time
VIEWS = 4  # augmented copies of each training image, whose features are cached
MORE_HEADS: tuple[dict[str, Any], ...] = (  # in this order for each network, the best network first
    {"size": 1.25, "views": 0},
    {"size": 1.0, "views": VIEWS},
    {"size": 1.25, "views": VIEWS},
)


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


def train_more_heads(session: Session, share: float = 1.0) -> None:
    """Train heads on larger and on augmented images, as many as fit into a share of the time left."""
    ends = (1 - share) * session.usable
    for params in MORE_HEADS:
        if params["views"] and not session.recipes.augments_photos:
            continue
        for candidate in session.candidates:
            if not session.has_features(candidate) or _is_done(session, candidate, params):
                continue
            if _head_seconds(session, candidate, **params) <= session.usable - ends:
                _train_head(session, candidate, **params)


def _is_done(session: Session, candidate: Candidate, params: dict[str, Any]) -> bool:
    done = [each for each in session.journal.scored if each.kind == "head"]
    return any(each.network == candidate.model and each.params == params for each in done)


def _head_seconds(session: Session, candidate: Candidate, size: float, views: int = 0) -> float:
    pixels = scaled_size(session.recipes.native_size(candidate), size)
    return session.costs.head(candidate.model, pixels, session.work, views)


def _train_head(session: Session, candidate: Candidate, size: float, views: int = 0) -> None:
    name = session.new_name("head")
    pixels = scaled_size(session.recipes.native_size(candidate), size)
    config = session.recipes.head(name, candidate, pixels, views)
    cost = _head_seconds(session, candidate, size, views)
    shown = f"{candidate.model} at {pixels} px, head only" + (f", {views} augmented views" if views else "")
    session.begin(f"{name}: {shown}, about {duration(cost)}")
    scored = session.run_all_folds(config, "head", {"size": size, "views": views}, cost)
    if scored is not None:
        session.say(f"{shown}: {session.metric} {scored.cv:.4f}")
        combine_and_submit(session)

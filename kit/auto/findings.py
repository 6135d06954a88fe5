"""Say what an experiment has shown beside earlier ones: what it gained, and for how much more time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kit.auto.journal import Scored

TRAINED = {"head": "training its head only", "whole": "training the whole network"}


def findings(new: Scored, earlier: Sequence[Scored]) -> Iterator[str]:
    """Yield a sentence for each choice that a new experiment and one earlier one differ in alone.

    Args:
        earlier: Experiments and blends, in the order in which they were scored.
    """
    same_network = [each for each in earlier if each.network == new.network and each.kind != "blend"]
    same_kind = [each for each in same_network if each.kind == new.kind]
    for choice in ("size", "views"):
        others = [each for each in same_kind if _differ_only_in(choice, each, new)]
        if others:
            what = _said(choice, new, others[-1])
            yield f"{new.network} {what}: {_gain(new, others[-1])}"
    other_kind = [each for each in same_network if each.kind != new.kind]
    if other_kind:
        other = other_kind[-1]
        yield f"{new.network}, {TRAINED[new.kind]} instead of {TRAINED[other.kind]}: {_gain(new, other)}"


def _differ_only_in(choice: str, one: Scored, other: Scored) -> bool:
    same_rest = {**one.params, choice: None} == {**other.params, choice: None}
    return one.params.get(choice) != other.params.get(choice) and same_rest


def _said(choice: str, new: Scored, other: Scored) -> str:
    if choice == "size":
        return f"at {new.px} px instead of {other.px} px"
    return f"with {new.params['views']} augmented copies of each image instead of {other.params['views']}"


def _gain(new: Scored, other: Scored) -> str:
    slower = new.seconds / max(0.1, other.seconds)
    return f"{new.cv - other.cv:+.4f} for {slower:.1f} x the time"

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
    same_kind = [each for each in same_network if each.kind == new.kind and _differ_in_size(each, new)]
    if same_kind:
        other = same_kind[-1]
        yield (
            f"{new.network} at {new.px} px instead of {other.px} px: {new.cv - other.cv:+.4f} "
            f"{_for_the_time(new, other)}"
        )
    other_kind = [each for each in same_network if each.kind != new.kind]
    if other_kind:
        other = other_kind[-1]
        yield (
            f"{new.network}, {TRAINED[new.kind]} instead of {TRAINED[other.kind]}: "
            f"{new.cv - other.cv:+.4f} {_for_the_time(new, other)}"
        )


def _differ_in_size(one: Scored, other: Scored) -> bool:
    return one.px != other.px and {**one.params, "size": 0} == {**other.params, "size": 0}


def _for_the_time(new: Scored, other: Scored) -> str:
    return f"for {new.seconds / max(0.1, other.seconds):.1f} x the time"

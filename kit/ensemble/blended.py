"""A written blend, and the checks of members that all blend methods share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kit.ensemble.evaluate_blend import BlendEvaluation
from kit.errors import KitError, first_few
from kit.storage.workspace import RunFolder


@dataclass(frozen=True)
class Blended:
    """A written blend; ``evaluation`` is None if its members have different folds."""

    run: RunFolder
    evaluation: BlendEvaluation | None


def check_members(labels: Sequence[str], run: RunFolder) -> None:
    """Refuse fewer than two members, duplicates, and the name of an experiment or a member.

    Raises:
        KitError: One of these problems.
    """
    if len(labels) < 2:
        raise KitError(
            "kit blend", f"has {len(labels)} member", "A blend has at least two", code="too_few_members"
        )
    repeated = sorted({label for label in labels if labels.count(label) > 1})
    if repeated:
        raise KitError(
            "kit blend",
            f"has a member twice ({first_few(repeated)})",
            "Members are distinct",
            code="duplicate_member",
        )
    problem = None
    if run.label in labels:
        problem = "is one of the members"
    elif run.config.exists() and not run.blend.exists():
        problem = "is an experiment"
    if problem is not None:
        raise KitError(
            run.label, problem, "A blend has its own name", "Choose another --name.", code="name_taken"
        )

"""A written blend, and the checks of members that all blend methods share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kit.ensemble.evaluate_blend import BlendEvaluation
from kit.errors import KitError, first_few
from kit.storage.run_artifacts import read_blend
from kit.storage.workspace import RunFolder, Workspace


@dataclass(frozen=True)
class Blended:
    """A written blend; ``evaluation`` is None if its members have different folds."""

    run: RunFolder
    evaluation: BlendEvaluation | None


def blends_of(runs: Sequence[RunFolder], workspace: Workspace) -> list[RunFolder]:
    """Return every blend among the runs, and every blend of one of the runs, also through other blends.

    A blend whose record is damaged is not among them: `kit status` reports it.
    """
    members = {run.label: _members(run) for run in workspace.runs() if run.blend.exists()}
    known = {run.label for run in runs}
    while new := {label for label, own in members.items() if label not in known and known & own}:
        known |= new
    return [run for run in workspace.runs() if run.label in known & set(members)]


def _members(run: RunFolder) -> set[str]:
    try:
        return set(read_blend(run)[0]["members"])
    except (KitError, KeyError, TypeError):
        return set()


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

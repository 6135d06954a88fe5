"""Blend experiments, blends and other tools' predictions, by any method."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kit.config import Component
from kit.ensemble.blend import blend
from kit.ensemble.blended import Blended
from kit.ensemble.members import foreign_member, member_of
from kit.ensemble.methods import BlendMethod, blend_methods
from kit.ensemble.methods.registry import METHOD, check_suits
from kit.errors import KitError
from kit.evaluation.oof_with_labels import config_of
from kit.runtime.progress import SILENT, Progress
from kit.storage.workspace import RunFolder, Workspace
from kit.tasks import tasks


def blend_runs(
    runs: Sequence[RunFolder],
    method: Component,
    name: str,
    workspace: Workspace,
    foreign: Sequence[tuple[Path, Path | None]] = (),
    any_folds: bool = False,
    progress: Progress = SILENT,
) -> Blended:
    """Write a blend of experiments, blends and other tools' predictions.

    Args:
        runs: Experiments and blends; the first determines the competition.
        foreign: CSVs with OOF and test predictions of other tools.
        any_folds: Whether members may have different folds.

    Raises:
        KitError: ``runs`` is empty, or the members do not fit the method or each other.
    """
    if not runs:
        raise KitError(
            "kit blend",
            "has no experiment or blend among its members",
            "The first experiment or blend determines the competition",
            code="blend_without_run",
        )
    folder = workspace.run(runs[0].competition, name)
    entry = blend_methods.get(method.name, METHOD)
    config = config_of(runs[0])
    check_suits(entry, tasks.get(config.competition.task))
    if entry.blends_weights:
        _refuse_for_weights(entry, method, bool(foreign), any_folds)
        blended: Blended = entry.function(runs, folder, workspace, progress)
        return blended
    members = [member_of(run) for run in runs]
    task = tasks.get(members[0].oof.origin.task)
    members += [foreign_member(oof, test, members[0], task) for oof, test in foreign]
    for oof, _ in foreign:
        progress.note(f"{oof}: kit cannot verify that it comes from the same folds")
    return blend(members, method, folder, config, workspace, any_folds, progress)


def _refuse_for_weights(entry: BlendMethod, method: Component, foreign: bool, any_folds: bool) -> None:
    """Refuse arguments that a method that averages model weights does not support."""
    for unfit, what in (
        (bool(method.options), "options"),
        (foreign, "predictions of other tools"),
        (any_folds, "members with different folds"),
    ):
        if unfit:
            raise KitError(
                f"{METHOD} {entry.name}",
                f"takes no {what}",
                "The method averages the weights of trained models",
                code="method_does_not_take",
            )

"""Refuse artifacts that are stale or damaged: the rule of every verb that reads predictions."""

from __future__ import annotations

from collections.abc import Collection

from kit.errors import KitError
from kit.status.chain import USED_BY, Kind, Link, chain_of
from kit.status.competition_now import CompetitionNow
from kit.storage.run_artifacts import read_blend
from kit.storage.workspace import RunFolder, Workspace
from kit.training.data import TrainingData

OOF_PREDICTIONS: tuple[Kind, ...] = ("members", "oof")  # what scores are computed from
ALL_PREDICTIONS: tuple[Kind, ...] = ("members", "oof", "test")
RULE = "A result must come from the current images, labels, models and members"


def refuse_stale(
    run: RunFolder,
    workspace: Workspace,
    kinds: Collection[Kind],
    data: TrainingData | None,
    any_folds: bool = False,
) -> None:
    """Refuse a run if artifacts of these kinds, or their inputs, are stale or damaged; they may be missing.

    Args:
        data: The competition now, from ``current_data``; None: images and labels are not compared.
        any_folds: Whether the run may have been trained on other folds and images than the current ones.

    Raises:
        KitError: The first artifact that is damaged (with its own error) or ``artifact_stale``.
    """
    now = None if data is None else CompetitionNow.of(data)
    for link in chain_of(run, workspace, now, verify=False, any_folds=any_folds):
        is_needed = link.kind in kinds or set(USED_BY[link.kind]) & set(kinds)
        if is_needed and link.state in ("stale", "damaged"):
            raise link.problem or _stale(run, link)


def refuse_stale_models(run: RunFolder, workspace: Workspace) -> None:
    """Refuse a run whose models, members or postprocessing do not belong together; images are not compared.

    Raises:
        KitError: As ``refuse_stale``, also for the members of a blend.
    """
    refuse_stale(run, workspace, (*OOF_PREDICTIONS, "scores"), None)
    if run.blend.exists() and not run.config.exists():
        for label in read_blend(run)[0]["members"]:
            if (member := RunFolder(workspace.root / "runs" / label)).path.is_dir():
                refuse_stale_models(member, workspace)


def _stale(run: RunFolder, link: Link) -> KitError:
    since = f" since {link.since}" if link.since else ""
    return KitError(
        f"{run.label}, {link.artifact}",
        f"stale: {link.why}{since}",
        RULE,
        f"Renew it: `{link.command}`." if link.command else "Restore what changed.",
        code="artifact_stale",
    )

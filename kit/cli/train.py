"""``kit train``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from kit.cli.options import (
    ConfigArgument,
    DataRootOption,
    FreshOption,
    JsonOption,
    SetOption,
    TimeLimitOption,
    WorkspaceOption,
)

if TYPE_CHECKING:
    from kit.config import Config
    from kit.storage.workspace import Workspace


def train(
    config: ConfigArgument,
    fold: Annotated[list[int] | None, typer.Option(help="Only this fold. Repeatable.")] = None,
    overrides: SetOption = None,
    fresh: FreshOption = False,
    time_limit: TimeLimitOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be trained, and how; train nothing.")
    ] = False,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
    data_root: DataRootOption = None,
) -> None:
    """Train one model per fold. What is done is skipped; a fold that was interrupted goes on.

    kit train configs/leaves.yaml --fold 0 --set train.lr=3e-4 --set name=lower-rate

    kit train configs/leaves.yaml --dry-run
    """
    from kit.cli.console import Terminal, show, show_json
    from kit.config.load import load_config
    from kit.runtime.deadline import Deadline
    from kit.storage.workspace import Workspace
    from kit.training import experiment
    from kit.training.run_state import fold_scores

    deadline = Deadline.of(time_limit)
    place = Workspace.open(workspace, data_root)
    loaded = load_config(config, overrides or [])
    if dry_run:
        _show_rehearsal(loaded, place, json)
        return
    run = experiment.train(loaded, place, fold or [], fresh, Terminal(), deadline)
    scores, models = fold_scores(run)
    if json:
        values = {"experiment": run.label, "metric": loaded.competition.metric.label, "cv": None}
        show_json(values | {"folds": list(scores.values())})
        return
    done = ", ".join(f"{k}: {score:.4f}" for k, score in scores.items())
    show(f"{run.label}: {len(scores)} of {models} folds trained ({done})")
    if len(scores) == models:
        show(f"Next: kit predict {run.label}")


def _show_rehearsal(config: Config, place: Workspace, json: bool) -> None:
    from kit.cli.console import Terminal, show, show_json
    from kit.report.tables import rehearsal_tables
    from kit.training.dry_run import rehearse

    rehearsal = rehearse(config, place, Terminal())
    if json:
        show_json(rehearsal.as_dict())
    else:
        show(*rehearsal_tables(rehearsal))

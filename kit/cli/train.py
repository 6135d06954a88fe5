"""``kit train``."""

from typing import Annotated

import typer

from kit.cli.options import (
    ConfigArgument,
    DataRootOption,
    FreshOption,
    JsonOption,
    SetOption,
    WorkspaceOption,
)


def train(
    config: ConfigArgument,
    fold: Annotated[list[int] | None, typer.Option(help="Only this fold. Repeatable.")] = None,
    overrides: SetOption = None,
    fresh: FreshOption = False,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
    data_root: DataRootOption = None,
) -> None:
    """Train one model per fold. What is done is skipped; a fold that was interrupted goes on.

    kit train configs/leaves.yaml --fold 0 --set train.lr=3e-4 --set name=lower-rate
    """
    from kit import experiment
    from kit.cli.console import Terminal, show, show_json
    from kit.config_file import load_config
    from kit.workspace import Workspace

    place = Workspace.open(workspace, data_root)
    loaded = load_config(config, overrides or [])
    run = experiment.train(loaded, place, fold or [], fresh, Terminal())
    scores, models = experiment.fold_scores(run)
    if json:
        values = {"experiment": run.label, "metric": loaded.competition.metric, "cv": None}
        show_json(values | {"folds": list(scores.values())})
        return
    done = ", ".join(f"{k}: {score:.4f}" for k, score in scores.items())
    show(f"{run.label}: {len(scores)} of {models} folds trained ({done})")
    if len(scores) == models:
        show(f"Next: kit predict {run.label}")

"""``kit train``: train one model per fold."""

from __future__ import annotations

from typing import Annotated

import typer

from kit.cli.options import (
    ConfigArgument,
    DataRootOption,
    DevicesOption,
    FoldCpusOption,
    FoldGpusOption,
    FreshOption,
    JsonOption,
    RayOption,
    SetOption,
    TimeLimitOption,
    WorkspaceOption,
    devices_of,
)
from kit.errors import counted


def train(
    config: ConfigArgument,
    fold: Annotated[list[int] | None, typer.Option(help="Only this fold. Repeatable.")] = None,
    overrides: SetOption = None,
    fresh: FreshOption = False,
    time_limit: TimeLimitOption = None,
    devices: DevicesOption = None,
    ray: RayOption = None,
    fold_gpus: FoldGpusOption = None,
    fold_cpus: FoldCpusOption = 1,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be trained, and how, without training.")
    ] = False,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
    data_root: DataRootOption = None,
) -> None:
    """Train one model per fold; skip trained folds, resume interrupted ones.

    kit train configs/leaves.yaml --fold 0 --set name=low --set train.lr=1e-4

    kit train configs/leaves.yaml --dry-run
    """
    from kit import pipeline
    from kit.cli.console import Terminal, show, show_json, show_line
    from kit.cli.next_step import show_next, show_next_with_config
    from kit.report.tables import dry_run_tables
    from kit.storage.workspace import Workspace

    place = Workspace.open(workspace, data_root)
    if dry_run:
        plan = pipeline.dry_run(config, overrides=overrides or [], workspace=place, progress=Terminal())
        if json:
            show_json(plan.as_dict())
            return
        show(*dry_run_tables(plan))
        show_next_with_config(place, "train", config, overrides)
        return
    done = pipeline.train(
        config,
        folds=fold or [],
        fresh=fresh,
        time_limit=time_limit,
        devices=devices_of(devices, ray, fold_gpus, fold_cpus),
        overrides=overrides or [],
        workspace=place,
        progress=Terminal(),
    )
    if json:
        show_json(done.as_dict())
        return
    scores = ", ".join(f"{k}: {score:.4f}" for k, score in done.scores.items())
    show_line(f"{done.run.label}: {len(done.scores)} of {counted(done.num_folds, 'fold')} trained ({scores})")
    if len(done.scores) == done.num_folds:
        show_next(place, "predict", done.run.label)
    else:
        show_next_with_config(place, "train", config, overrides)

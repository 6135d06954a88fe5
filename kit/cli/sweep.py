"""``kit sweep``: one experiment per combination of values, in one table."""

from __future__ import annotations

from typing import Annotated

import typer

from kit.cli.options import (
    ConfigArgument,
    DataRootOption,
    DevicesOption,
    FoldCpusOption,
    FoldGpusOption,
    JsonOption,
    RayOption,
    SetOption,
    TimeLimitOption,
    WorkspaceOption,
    devices_of,
)


def sweep(
    config: ConfigArgument,
    grid: Annotated[
        list[str],
        typer.Option(
            "--grid",
            metavar="KEY=V1,V2",
            help="Values of a key; if drawn, also a range: train.lr=1e-5..1e-3. Repeatable.",
        ),
    ],
    random: Annotated[
        int | None,
        typer.Option("--random", metavar="N", help="Draw N combinations instead of training all."),
    ] = None,
    tpe: Annotated[
        int | None,
        typer.Option(
            "--tpe",
            metavar="N",
            help="Choose combinations by the scores of earlier ones until there are N; needs Optuna.",
        ),
    ] = None,
    prune: Annotated[
        bool,
        typer.Option(
            "--prune", help="Stop a combination whose first fold is worse than the median of 4 or more."
        ),
    ] = False,
    overrides: SetOption = None,
    time_limit: TimeLimitOption = None,
    devices: DevicesOption = None,
    ray: RayOption = None,
    fold_gpus: FoldGpusOption = None,
    fold_cpus: FoldCpusOption = 1,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
    data_root: DataRootOption = None,
) -> None:
    """Train one experiment per combination of values; compare them in one table with paired intervals.

    Run again, it skips what is finished; more values add experiments.

    A range over a factor of 10 or more is logarithmic; whole ends give whole numbers.

    kit sweep configs/leaves.yaml --grid train.lr=1e-4,3e-4 --grid model.name=a,b

    kit sweep configs/leaves.yaml --grid train.lr=1e-5..1e-3 --tpe 30 --prune
    """
    from kit.cli.console import Terminal, show, show_json
    from kit.cli.next_step import show_next
    from kit.storage.workspace import Workspace
    from kit.sweep import sweep as run
    from kit.sweep.report import summary, sweep_tables

    place = Workspace.open(workspace, data_root)
    done = run(
        config,
        grid=grid,
        random=random,
        tpe=tpe,
        prune=prune,
        time_limit=time_limit,
        overrides=overrides or [],
        devices=devices_of(devices, ray, fold_gpus, fold_cpus),
        workspace=place,
        progress=Terminal(),
    )
    if json:
        show_json(done.as_dict())
        return
    show(*summary(done), *sweep_tables(done), "")
    show_next(place, "submit" if done.can_submit else "evaluate", f"{done.competition}/{done.best.name}")

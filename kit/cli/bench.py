"""``kit bench``."""

from __future__ import annotations

from typing import Annotated

import typer

from kit.cli.options import ConfigArgument, DataRootOption, JsonOption, SetOption, WorkspaceOption


def bench(
    config: ConfigArgument,
    overrides: SetOption = None,
    steps: Annotated[int, typer.Option(min=2, help="How many of each measurement.")] = 8,
    settings: Annotated[
        bool, typer.Option("--settings/--no-settings", help="Whether other settings are tried.")
    ] = True,
    compiling: Annotated[
        bool | None,
        typer.Option(
            "--compile/--no-compile",
            help="Whether torch.compile is among them. Default: on a GPU; on a CPU it takes a minute.",
        ),
    ] = None,
    peers: Annotated[
        bool, typer.Option("--peers", help="Run fastai and Lightning beside it, where they are installed.")
    ] = False,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
    data_root: DataRootOption = None,
) -> None:
    """Measure how quick training and predicting are here, what holds them up, and which setting would help.

    kit bench configs/leaves.yaml

    kit bench configs/leaves.yaml --set model.name=resnet50 --peers
    """
    from kit.bench.measure import Wanted
    from kit.bench.measure import bench as measure
    from kit.cli.console import Terminal, show, show_json
    from kit.config.load import load_config
    from kit.report.benches import bench_tables
    from kit.storage.workspace import Workspace

    place = Workspace.open(workspace, data_root)
    wanted = Wanted(steps, settings, compiling, peers)
    found = measure(load_config(config, overrides or []), place, wanted, Terminal())
    if json:
        show_json(found.as_dict())
    else:
        show(*bench_tables(found))

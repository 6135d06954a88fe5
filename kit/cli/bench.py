"""``kit bench``: measure training and prediction speed."""

from __future__ import annotations

from typing import Annotated

import typer

from kit.cli.options import ConfigArgument, DataRootOption, JsonOption, SetOption, WorkspaceOption


def bench(
    config: ConfigArgument,
    overrides: SetOption = None,
    steps: Annotated[int, typer.Option(min=2, help="Steps per measurement.")] = 8,
    settings: Annotated[
        bool, typer.Option("--settings/--no-settings", help="Try other settings that may be faster.")
    ] = True,
    compiling: Annotated[
        bool | None,
        typer.Option(
            "--compile/--no-compile",
            help="Also try torch.compile. Default: on a GPU only; on a CPU it takes a minute.",
        ),
    ] = None,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
    data_root: DataRootOption = None,
) -> None:
    """Measure the speed of training and prediction here, find the bottleneck, and suggest faster settings.

    kit bench configs/leaves.yaml

    kit bench configs/leaves.yaml --set model.name=resnet50
    """
    from kit import pipeline
    from kit.cli.console import Terminal, show, show_json
    from kit.cli.next_step import set_options, show_next
    from kit.report.benches import bench_tables
    from kit.storage.workspace import Workspace

    place = Workspace.open(workspace, data_root)
    found = pipeline.bench(
        config,
        steps=steps,
        settings=settings,
        compiling=compiling,
        overrides=overrides or [],
        workspace=place,
        progress=Terminal(),
    )
    if json:
        show_json(found.as_dict())
    else:
        show(*bench_tables(found))
        faster = [trial.setting.text for trial in found.harmless[:1]]
        show_next(place, "train", config, *set_options([*(overrides or []), *faster]))

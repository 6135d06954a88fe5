"""``kit probe``: compare backbones in minutes."""

from __future__ import annotations

from typing import Annotated

import typer

from kit.cli.options import ConfigArgument, DataRootOption, JsonOption, SetOption, WorkspaceOption


def probe(
    config: ConfigArgument,
    models: Annotated[
        list[str],
        typer.Option("--models", metavar="A,B=FILE", help="Models, each with an optional weights file."),
    ],
    overrides: SetOption = None,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
    data_root: DataRootOption = None,
) -> None:
    """Compare backbones in minutes: cross-validate a linear classifier on each one's features.

    Weights are searched by the model's name in the weights folders, then downloaded.

    kit probe configs/leaves.yaml --models mobilenetv2_100,torchvision:resnet18

    kit probe configs/leaves.yaml --models resnet50=mine.safetensors
    """
    from kit import pipeline
    from kit.cli.console import Terminal, show, show_json
    from kit.cli.next_step import set_options, show_next
    from kit.config.load import load_config
    from kit.report.probes import probe_table, training_settings
    from kit.storage.workspace import Workspace

    names = [name.strip() for part in models for name in part.split(",") if name.strip()]
    loaded = load_config(config, overrides or [])
    place = Workspace.open(workspace, data_root)
    found = pipeline.probe(
        loaded,
        models=list(dict.fromkeys(names)),
        workspace=place,
        progress=Terminal(),
    )
    if json:
        show_json(found.as_dict())
    else:
        show(probe_table(found))
        show_next(
            place, "train", config, *set_options([*(overrides or []), *training_settings(found, loaded)])
        )

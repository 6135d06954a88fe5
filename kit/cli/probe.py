"""``kit probe``."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from kit.cli.options import ConfigArgument, DataRootOption, JsonOption, SetOption, WorkspaceOption


def probe(
    config: ConfigArgument,
    models: Annotated[
        list[str],
        typer.Option("--models", metavar="A,B=FILE", help="Names, perhaps with a weights file. Repeatable."),
    ],
    overrides: SetOption = None,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
    data_root: DataRootOption = None,
) -> None:
    """Compare backbones in minutes: a linear classifier on what each makes of the images, cross-validated.

    Weights are looked for by the model's name in the weights folders, then downloaded.

    kit probe configs/leaves.yaml --models mobilenetv2_100,convnext_tiny,torchvision:resnet18

    kit probe configs/leaves.yaml --models resnet50=mine.safetensors --set image.size=320
    """
    from rich.markup import escape

    from kit.cli.console import Terminal, show, show_json
    from kit.config import ModelConfig
    from kit.config.load import load_config
    from kit.probe.probe import probe as run_probe
    from kit.report.probes import probe_table
    from kit.storage.workspace import Workspace

    place = Workspace.open(workspace, data_root)
    names = [name.strip() for part in models for name in part.split(",") if name.strip()]
    experiment = load_config(config, overrides or [])
    found = run_probe(experiment, place, list(dict.fromkeys(names)), Terminal())
    if json:
        show_json(found.as_dict())
        return
    best = found.models[0]
    chosen = [f"model.name={best.model}", f"model.weights={best.weights or 'null'}"]
    own, probed = experiment.model, ModelConfig(name=best.model)
    usual = {"pretrained": "true", "options": "{}", "pool": "null"}  # as each was probed
    other = [key for key in usual if getattr(own, key) != getattr(probed, key)]
    chosen += [f"model.{key}={usual[key]}" for key in other]
    settings = [part for override in (*(overrides or []), *chosen) for part in ("--set", override)]
    show(probe_table(found), f"Next: {escape(shlex.join(['kit', 'train', str(config), *settings]))}")

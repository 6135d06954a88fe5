"""``kit explain``: show which pixels predictions rest on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kit.cli import complete
from kit.cli.options import DataRootOption, JsonOption, RunArgument, WorkspaceOption


def explain(
    experiment: RunArgument,
    images: Annotated[
        list[Path] | None,
        typer.Option("--images", metavar="PATH", help="An image, or a folder of images. Repeatable."),
    ] = None,
    mistakes: Annotated[
        int | None,
        typer.Option(
            "--mistakes",
            metavar="N",
            min=1,
            max=100,
            help="The most confident mistakes on training images. Default: 20 of them.",
        ),
    ] = None,
    class_name: Annotated[
        str | None, typer.Option("--class", metavar="NAME", help="Training images of this class.")
    ] = None,
    method: Annotated[
        str,
        typer.Option(
            "--method",
            metavar="NAME",
            help="grad_cam, or occlusion: slower, for any network.",
            autocompletion=complete.entries("explainers"),
        ),
    ] = "grad_cam",
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
    data_root: DataRootOption = None,
) -> None:
    """Draw which pixels predictions rest on: a sheet, a picture per image, and explain.json.

    Training images are explained by the models that did not train on them, others by all.

    kit explain leaves/first --mistakes 20
    kit explain leaves/first --images photo.jpg --method occlusion
    """
    from kit import pipeline
    from kit.cli.console import Terminal, show, show_json
    from kit.cli.next_step import show_next
    from kit.explain.explained import summary
    from kit.storage.workspace import Workspace

    place = Workspace.open(workspace, data_root)
    done = pipeline.explain(
        experiment,
        images=images or [],
        mistakes=mistakes,
        class_name=class_name,
        method=method,
        workspace=place,
        progress=Terminal(),
    )
    folder = place.shown(done.folder)
    if json:
        listed = [each.as_dict() for each in done.images]
        show_json({"experiment": done.run.label, "method": done.method, "folder": folder, "images": listed})
        return
    show(summary(done, folder))
    show_next(place, "evaluate", done.run.label)

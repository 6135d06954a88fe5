"""``kit augment``: draw training images as the model sees them."""

from typing import Annotated

import typer

from kit.cli.options import ConfigArgument, DataRootOption, JsonOption, SetOption, WorkspaceOption


def augment(
    config: ConfigArgument,
    images: Annotated[int, typer.Option(min=1, max=50, help="Number of training images.")] = 6,
    epochs: Annotated[int, typer.Option(min=1, max=50, help="Number of epochs to draw of each image.")] = 7,
    overrides: SetOption = None,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
    data_root: DataRootOption = None,
) -> None:
    """Draw training images as the model sees them: augmented, resized and mixed, epoch by epoch.

    kit augment configs/leaves.yaml --set augment.preset=heavy
    kit augment configs/leaves.yaml --images 3 --epochs 10
    """
    from kit import pipeline
    from kit.cli.console import Terminal, show_json, show_line
    from kit.cli.next_step import show_next_with_config
    from kit.errors import counted
    from kit.storage.workspace import Workspace

    place = Workspace.open(workspace, data_root)
    done = pipeline.augment(
        config,
        images=images,
        epochs=epochs,
        overrides=overrides or [],
        workspace=place,
        progress=Terminal(),
    )
    if json:
        show_json({"sheet": place.shown(done.sheet)})
    else:
        show_line(f"{place.shown(done.sheet)}  {counted(images, 'image')}, {counted(epochs, 'epoch')}")
        show_next_with_config(place, "train", config, overrides)

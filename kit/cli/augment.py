"""``kit augment``."""

from typing import Annotated

import typer

from kit.cli.options import ConfigArgument, DataRootOption, JsonOption, SetOption, WorkspaceOption


def augment(
    config: ConfigArgument,
    images: Annotated[int, typer.Option(min=1, max=50, help="How many training images.")] = 6,
    epochs: Annotated[int, typer.Option(min=1, max=50, help="In how many epochs each is shown.")] = 7,
    overrides: SetOption = None,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
    data_root: DataRootOption = None,
) -> None:
    """Draw training images as the model will see them: varied, resized and mixed, epoch by epoch.

    kit augment configs/leaves.yaml --set augment.preset=heavy
    """
    from kit import pipeline
    from kit.cli.console import Terminal, show, show_json
    from kit.config.load import load_config
    from kit.storage.workspace import Workspace

    place = Workspace.open(workspace, data_root)
    sheet = pipeline.augment(load_config(config, overrides or []), place, images, epochs, Terminal())
    if json:
        show_json({"sheet": place.shown(sheet)})
    else:
        show(f"{place.shown(sheet)}  {images} images, {epochs} epochs")

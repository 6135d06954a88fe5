"""``kit correct``: correct the label of a training image."""

from typing import Annotated

import typer

from kit.cli.options import ConfigArgument, DataRootOption, JsonOption, WorkspaceOption


def correct(
    config: ConfigArgument,
    sample_id: Annotated[
        str, typer.Argument(metavar="ID", help="The id of a training image, as the folds CSV has it.")
    ],
    labels: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[LABEL]...", help="The right class (several for multi-label tasks), or number."
        ),
    ] = None,
    unused: Annotated[bool, typer.Option("--unused", help="Take the image out of training instead.")] = False,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
    data_root: DataRootOption = None,
) -> None:
    """Correct the label of a training image, in folds/COMPETITION.corrections.csv; the data stays.

    The correction is used where a config sets competition.corrections to that file.

    kit correct configs/leaves.yaml 17/0034.jpg 12
    kit correct configs/leaves.yaml 17/0035.jpg --unused
    """
    from kit import pipeline
    from kit.cli.console import show, show_json
    from kit.cli.next_step import set_options, show_next
    from kit.errors import KitError
    from kit.report.corrections import correction_lines
    from kit.storage.workspace import Workspace

    if unused and labels:
        raise KitError(
            "kit correct",
            "an image has a label or is not used",
            next="Omit the labels, or --unused.",
            code="label_and_unused",
        )
    place = Workspace.open(workspace, data_root)
    done = pipeline.correct(
        config, sample_id=sample_id, labels=None if unused else labels or [], workspace=place
    )
    if json:
        show_json(done.as_dict())
        return
    file = place.shown(done.file)
    show(*correction_lines(done.correction, file))
    missing = [] if done.is_used else [f"competition.corrections={file}"]
    show_next(place, "train", config, *set_options(missing))

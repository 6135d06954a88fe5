"""``kit submit``: write the submission file of a run."""

from pathlib import Path
from typing import Annotated

import typer

from kit.cli import complete
from kit.cli.options import DataRootOption, JsonOption, WorkspaceOption


def submit(
    experiment: Annotated[
        str | None,
        typer.Argument(
            metavar="[EXPERIMENT]",
            help="COMPETITION/NAME, NAME, or the path of its folder.",
            autocompletion=complete.runs,
        ),
    ] = None,
    again: Annotated[
        Path | None,
        typer.Option(
            "--from", metavar="FILE.json", help="Write the submission that this JSON describes again."
        ),
    ] = None,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
    data_root: DataRootOption = None,
) -> None:
    """Write submissions/COMPETITION/NAME.csv in exactly the sample's format, verified by a round trip.

    NAME.json beside it records the models, folds and config that it was made from.

    kit submit leaves/first
    kit submit --from submissions/leaves/first.json
    """
    from kit import pipeline
    from kit.cli.console import Terminal, show, show_json, show_line
    from kit.cli.next_step import show_recording
    from kit.errors import KitError
    from kit.report.submissions import submission_as_dict, submission_lines
    from kit.storage.workspace import Workspace

    if (experiment is None) == (again is None):
        raise KitError(
            "kit submit",
            "needs either EXPERIMENT or --from",
            next="kit submit NAME",
            code="submit_needs_experiment_or_from",
        )
    place = Workspace.open(workspace, data_root)
    if again is not None:
        made, written = pipeline.resubmit(again, workspace=place)
        if json:
            show_json({"file": place.shown(made.path), "written": written})
        else:
            state = "written again with the same bytes" if written else "exists already, unchanged"
            show_line(f"{place.shown(made.path)} {state}.")
            show_recording(place, made)
        return
    done = pipeline.submit(str(experiment), workspace=place, progress=Terminal())
    file = place.shown(done.file.path)
    if json:
        show_json(submission_as_dict(done, file))
    else:
        show(*submission_lines(done, file))
        show_recording(place, done.file)

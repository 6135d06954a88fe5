"""``kit status``: show which artifacts are up to date, stale, damaged or missing."""

from __future__ import annotations

from typing import Annotated

import typer

from kit.cli import complete
from kit.cli.options import DataRootOption, JsonOption, WorkspaceOption


def status(
    experiment: Annotated[
        str | None,
        typer.Argument(
            metavar="[EXPERIMENT]",
            help="COMPETITION/NAME, NAME, or a folder; default: all.",
            autocompletion=complete.runs,
        ),
    ] = None,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
    data_root: DataRootOption = None,
) -> None:
    """Show the state of every artifact of a run, from its models to its submission, and what renews it.

    An artifact is stale if an input has changed since: images, labels, folds, models, members of a blend.

    kit status

    kit status leaves/first
    """
    from kit import pipeline
    from kit.cli.console import Terminal, show, show_json
    from kit.cli.next_step import show_next
    from kit.report.status import next_command, status_tables
    from kit.storage.workspace import Workspace

    place = Workspace.open(workspace, data_root)
    found = pipeline.status(experiment, workspace=place, progress=Terminal())
    if json:
        show_json({"runs": [each.as_dict() for each in found]})
    elif not found:
        show("There is no run yet.")
        show_next(place, "quickstart", reads_data=False)
    else:
        is_single = experiment is not None
        show(*status_tables(found, is_single))
        step = next_command(found, is_single)
        show_next(place, *step, reads_data=step != ["leaderboard"])

"""``kit kaggle``: download a competition from Kaggle, and submit to it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kit.cli import complete
from kit.cli.options import DataRootOption, JsonOption, WorkspaceOption

app = typer.Typer(no_args_is_help=True)


@app.callback()
def kaggle() -> None:
    """Download a competition from Kaggle, and submit to it, with the official package and its credentials.

    kit kaggle download leaf-classification
    kit kaggle submit leaf-classification/blend --message "blend of five"
    """


@app.command("download")
def download(
    competition: Annotated[
        str, typer.Argument(metavar="COMPETITION", help="The last part of its address, or the address.")
    ],
    name: Annotated[str | None, typer.Option(help="Its name in the workspace. Default: the same.")] = None,
    max_gb: Annotated[float, typer.Option(help="Maximum size of each unpacked archive in GB.", min=0)] = 50.0,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Download a competition's files, unpack them to data/COMPETITION, and write its config as kit init does.

    A download that was cut is continued by the same command.

    kit kaggle download leaf-classification
    kit kaggle download https://www.kaggle.com/competitions/leaf-classification --name leaves
    """
    from kit import pipeline
    from kit.cli.console import Terminal
    from kit.cli.init import show_init
    from kit.storage.workspace import Workspace

    place = Workspace.open(workspace)
    done = pipeline.kaggle_download(
        competition, name=name, max_gb=max_gb, workspace=place, progress=Terminal()
    )
    show_init(done, place, json)


@app.command("submit")
def submit(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="A submission: its path, COMPETITION/NAME, or NAME.",
            autocompletion=complete.submissions,
        ),
    ],
    message: Annotated[
        str, typer.Option("--message", "-m", metavar="TEXT", help="The description that Kaggle shows.")
    ],
    config: Annotated[
        Path | None,
        typer.Argument(
            metavar="[CONFIG]",
            help="The config to check it with. Default: that of its run.",
            autocompletion=complete.configs,
        ),
    ] = None,
    competition: Annotated[
        str | None,
        typer.Option("--competition", metavar="NAME", help="Its name at Kaggle. Default: that here."),
    ] = None,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not wait for the score.")] = False,
    time_limit: Annotated[
        str | None, typer.Option("--time-limit", metavar="30m", help="How long to wait for the score.")
    ] = None,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
    data_root: DataRootOption = None,
) -> None:
    """Check a submission, upload it, wait for its score, and record it in the leaderboard.

    A file that kit check refuses is not uploaded. A file that was uploaded before is not uploaded again: the
    same command fetches its score.

    kit kaggle submit leaves/first --message "first try"
    kit kaggle submit leaves/first --competition leaf-classification --message "first try" --no-wait
    """
    from kit import pipeline
    from kit.cli.console import Terminal, show, show_json
    from kit.cli.next_step import show_next
    from kit.storage.workspace import Workspace

    place = Workspace.open(workspace, data_root)
    done = pipeline.kaggle_submit(
        file,
        config,
        message=message,
        competition=competition,
        wait=not no_wait,
        time_limit=time_limit,
        workspace=place,
        progress=Terminal(),
    )
    if json:
        show_json(done.as_dict())
        return
    show(done.text(place.shown(done.file.path)))
    show_next(place, "leaderboard", "--competition", done.file.competition, reads_data=False)

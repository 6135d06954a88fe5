"""``kit bundle``: write what an offline notebook needs to predict a hidden test folder."""

from pathlib import Path
from typing import Annotated

import typer

from kit.cli.options import DataRootOption, JsonOption, RunArgument, WorkspaceOption


def bundle(
    experiment: RunArgument,
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="The bundle to write; an earlier one is replaced.")
    ],
    platform: Annotated[
        str | None,
        typer.Option(help="The platform of the notebook, such as kaggle-2026-08 (the default)."),
    ] = None,
    time_limit: Annotated[
        str | None,
        typer.Option("--time-limit", metavar="8h30m", help="The time limit of a prediction in the notebook."),
    ] = None,
    push: Annotated[
        bool, typer.Option("--push", help="Also upload it to Kaggle, as a private dataset.")
    ] = False,
    onnx: Annotated[
        bool, typer.Option("--onnx", help="Also write the models as ONNX, for programs without kit.")
    ] = False,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
    data_root: DataRootOption = None,
) -> None:
    """Write a folder that predicts a hidden test folder without network, for code competitions.

    Add it to a notebook as a dataset; predict.ipynb or `python predict.py DATA` there writes submission.csv.

    kit bundle leaves/first --out bundle
    kit bundle leaves/blend --out bundle --time-limit 8h30m --push
    """
    from kit import pipeline
    from kit.cli.console import Terminal, show_json, show_line
    from kit.cli.next_step import show_next
    from kit.errors import counted
    from kit.storage.files import format_bytes
    from kit.storage.workspace import Workspace

    place = Workspace.open(workspace, data_root)
    done = pipeline.bundle(
        experiment,
        out=out,
        platform=platform,
        time_limit=time_limit,
        push=push,
        onnx=onnx,
        workspace=place,
        progress=Terminal(),
    )
    if json:
        show_json(done.as_dict())
        return
    size = f"{counted(done.files, 'file')}, {format_bytes(done.bytes)}"
    show_line(f"{done.folder} written for {done.platform}: {size}")
    if done.dataset:
        show_line(f"Uploaded: {done.dataset}")
    show_line(f"In the notebook: python {done.folder.name}/predict.py DATA --out submission.csv")
    show_next(place, "status", done.run.label)

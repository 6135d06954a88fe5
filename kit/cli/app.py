"""``kit app``: the web app."""

from __future__ import annotations

from typing import Annotated

import typer

from kit.cli.options import DataRootOption, WorkspaceOption


def app(
    port: Annotated[int, typer.Option("--port", metavar="NUMBER", help="Where the app listens.")] = 8501,
    workspace: WorkspaceOption = None,
    data_root: DataRootOption = None,
) -> None:
    """Show data, experiments, mistakes and submissions in a browser, on this machine only.

    Ctrl-C ends it. From elsewhere: ssh -L 8501:127.0.0.1:8501 HOST.

    kit app
    kit app --port 8600 --workspace work
    """
    from kit.app.serve import ADDRESS, serve
    from kit.cli.console import show_line
    from kit.storage.workspace import Workspace

    place = Workspace.open(workspace, data_root)
    show_line(f"http://{ADDRESS}:{port}  (Ctrl-C ends it)")
    status = serve(place, port)
    if status:
        raise typer.Exit(status)

"""``kit clean``."""

from __future__ import annotations

from typing import Annotated

import typer

from kit.cli.options import JsonOption, WorkspaceOption


def clean(
    competition: Annotated[
        str | None, typer.Argument(metavar="[COMPETITION]", help="Only of this one.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what is there; remove nothing.")] = False,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Remove what can be made again of images: decoded pixels, foreground masks, features of frozen networks.

    No model, prediction or submission is touched.

    kit clean --dry-run

    kit clean leaves
    """
    from kit.cli.console import show, show_json
    from kit.storage.clean import clean as remove
    from kit.storage.files import sized
    from kit.storage.workspace import Workspace

    place = Workspace.open(workspace)
    kept = remove(place, competition, dry_run)
    if json:
        rows = [{"competition": k.competition, "files": k.files, "bytes": k.bytes} for k in kept]
        show_json({"removed": not dry_run, "kept": rows})
        return
    for each in kept:
        show(f"{place.shown(each.folder)}  {each.files} files, {sized(each.bytes)}")
    show("nothing is kept of images" if not kept else "would be removed" if dry_run else "removed")

"""``kit clean``: remove image caches."""

from __future__ import annotations

from typing import Annotated

import typer

from kit.cli.options import JsonOption, WorkspaceOption


def clean(
    competition: Annotated[
        str | None, typer.Argument(metavar="[COMPETITION]", help="Only the caches of this competition.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the caches; remove nothing.")] = False,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Remove image caches: decoded pixels, foreground masks, features of frozen backbones.

    Keep models, predictions and submissions.

    kit clean --dry-run

    kit clean leaves
    """
    from kit import pipeline
    from kit.cli.console import show, show_json, show_line
    from kit.cli.next_step import show_next
    from kit.errors import counted
    from kit.storage.files import format_bytes
    from kit.storage.workspace import Workspace

    place = Workspace.open(workspace)
    caches = pipeline.clean(competition, dry_run=dry_run, workspace=place)
    if json:
        rows = [{"competition": c.competition, "files": c.files, "bytes": c.bytes} for c in caches]
        show_json({"removed": not dry_run, "kept": rows})
        return
    for cache in caches:
        show_line(f"{place.shown(cache.folder)}  {counted(cache.files, 'file')}, {format_bytes(cache.bytes)}")
    show("no caches found" if not caches else "would be removed" if dry_run else "removed")
    if caches and dry_run:
        show_next(place, "clean", *([competition] if competition else []), reads_data=False)
    else:
        show_next(place, "status")

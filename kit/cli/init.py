"""``kit init``: write a config for a competition folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from kit.cli.options import DataRootOption, JsonOption, WorkspaceOption

if TYPE_CHECKING:
    from kit.pipeline.prepare import InitResult
    from kit.storage.workspace import Workspace


def init(
    data: Annotated[str, typer.Argument(metavar="DATA", help="A competition folder, zip, tar or 7z.")],
    name: Annotated[
        str | None, typer.Option(help="The competition's name. Default: the folder's name.")
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(help="The label column, if several are candidates; repeat it for one column per class."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="The model to start with.")] = None,
    weights: Annotated[
        str | None, typer.Option(help="The model's weights file, searched in $KIT_WEIGHTS and weights/.")
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option(help="The layout; `kit components layouts` lists them. Default: detected."),
    ] = None,
    depth: Annotated[
        int | None,
        typer.Option(help="How many levels of folders name the class, if several could.", min=1, max=5),
    ] = None,
    label_pattern: Annotated[
        str | None,
        typer.Option(help="Regular expression whose group finds the label in a file name: ^([a-z]+)[.]"),
    ] = None,
    max_gb: Annotated[float, typer.Option(help="Maximum size of each unpacked archive in GB.", min=0)] = 50.0,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite an existing config that differs.")
    ] = False,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
    data_root: DataRootOption = None,
) -> None:
    """Detect the layout of a competition folder, write configs/NAME.yaml, and explain every choice.

    A zip, tar or 7z given as DATA is first unpacked to data/; archives in the folder are unpacked beside
    themselves (train.zip to train/).

    kit init ../downloads/leaves
    kit init leaves --data-root ../downloads --model convnext_tiny
    """
    from kit import pipeline
    from kit.cli.console import Terminal
    from kit.storage.workspace import Workspace

    place = Workspace.open(workspace, data_root)
    done = pipeline.init(
        data,
        name=name,
        label=label,
        model=model,
        weights=weights,
        layout=layout,
        depth=depth,
        label_pattern=label_pattern,
        max_gb=max_gb,
        force=force,
        workspace=place,
        progress=Terminal(),
    )
    show_init(done, place, json)


def show_init(done: InitResult, place: Workspace, json: bool) -> None:
    """Print the config that was written, the reason for each choice, and the next step."""
    from kit.cli.console import Terminal, show, show_json
    from kit.cli.next_step import config_argument, show_next
    from kit.report.tables import findings_table

    config = place.shown(done.config)
    if json:
        findings = [finding._asdict() for finding in done.findings]
        to_edit = done.to_edit.as_dict() if done.to_edit else None
        found = {"config": config, "findings": findings, "unused": done.unused, "unpacked": done.unpacked}
        show_json({**found, "to_edit": to_edit})
        return
    state = "written" if done.written else "exists already, unchanged"
    unpacked = ["Unpacked:", *(f"  {line}" for line in done.unpacked), ""] if done.unpacked else []
    not_used = ["\nNot used:", *(f"  {line}" for line in done.unused)] if done.unused else []
    show(
        *unpacked,
        findings_table(done.findings),
        *not_used,
        f"\n{config} {state}. Read it before the next step.",
    )
    if done.to_edit is not None:
        Terminal().warn(f"kit run will refuse this config. Edit it first: {done.to_edit}")
    show_next(place, "run", config_argument(place, done.config))

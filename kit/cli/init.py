"""``kit init``."""

from typing import Annotated

import typer

from kit.cli.options import DataRootOption, JsonOption, WorkspaceOption


def init(
    data: Annotated[str, typer.Argument(metavar="DATA", help="A competition folder: a path or a name.")],
    name: Annotated[str | None, typer.Option(help="What to call it. Default: the folder's name.")] = None,
    label: Annotated[
        str | None, typer.Option(help="The label column, where the tables leave it open.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="The model to begin with.")] = None,
    weights: Annotated[str | None, typer.Option(help="Its weights file, found under $KIT_WEIGHTS.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite another config of that name.")] = False,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
    data_root: DataRootOption = None,
) -> None:
    """Look at a competition folder and write configs/NAME.yaml, saying what was inferred from what.

    kit init ../downloads/leaves
    kit init leaves --data-root ../downloads --model convnext_tiny
    """
    from kit import pipeline
    from kit.cli.console import show, show_json
    from kit.workspace import Workspace

    place = Workspace.open(workspace, data_root)
    started = pipeline.init(data, place, name, label, model, weights, force)
    if json:
        show_json(
            {"config": place.shown(started.config), "findings": [f._asdict() for f in started.findings]}
        )
        return
    from kit.report.tables import findings_table

    verb = "written" if started.written else "is there already, unchanged"
    show(findings_table(started.findings))
    show(f"\n{place.shown(started.config)} {verb}. Read it, then: kit run {place.shown(started.config)}")

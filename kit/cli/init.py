"""``kit init``."""

from typing import Annotated

import typer

from kit.cli.options import DataRootOption, JsonOption, WorkspaceOption


def init(
    data: Annotated[str, typer.Argument(metavar="DATA", help="A competition folder, zip or tar.")],
    name: Annotated[str | None, typer.Option(help="What to call it. Default: the folder's name.")] = None,
    label: Annotated[
        str | None, typer.Option(help="The label column, where the tables leave it open.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="The model to begin with.")] = None,
    weights: Annotated[str | None, typer.Option(help="Its weights file, found under $KIT_WEIGHTS.")] = None,
    layout: Annotated[
        str | None, typer.Option(help="Take this layout: class_folders, csv, id_lists or voc.")
    ] = None,
    max_gb: Annotated[float, typer.Option(help="What an archive may unpack to.", min=0)] = 50.0,
    force: Annotated[bool, typer.Option("--force", help="Overwrite another config of that name.")] = False,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
    data_root: DataRootOption = None,
) -> None:
    """Look at a competition folder and write configs/NAME.yaml, saying what was inferred from what.

    A zip or tar is unpacked under data/ first, safely.

    kit init ../downloads/leaves
    kit init leaves --data-root ../downloads --model convnext_tiny
    """
    from kit import pipeline
    from kit.cli.console import Terminal, show, show_json
    from kit.storage.workspace import Workspace

    place = Workspace.open(workspace, data_root)
    started = pipeline.init(data, place, name, label, model, weights, layout, max_gb, force, Terminal())
    if json:
        show_json(
            {"config": place.shown(started.config), "findings": [f._asdict() for f in started.findings]}
        )
        return
    from kit.report.tables import findings_table

    verb = "written" if started.written else "is there already, unchanged"
    show(findings_table(started.findings))
    show(f"\n{place.shown(started.config)} {verb}. Read it, then: kit run {place.shown(started.config)}")

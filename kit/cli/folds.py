"""``kit folds``."""

from typing import Annotated

import typer

from kit.cli.options import ConfigArgument, DataRootOption, JsonOption, SetOption, WorkspaceOption


def folds(
    config: ConfigArgument,
    overrides: SetOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a folds CSV that holds another partition.")
    ] = False,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
    data_root: DataRootOption = None,
) -> None:
    """Split the training images into stratified folds, prove the partition, and write folds/COMPETITION.csv.

    kit folds configs/leaves.yaml --set folds.count=10
    """
    from kit import pipeline
    from kit.cli.console import Terminal, show, show_json
    from kit.config_file import load_config
    from kit.workspace import Workspace

    place = Workspace.open(workspace, data_root)
    made, path, state = pipeline.folds(load_config(config, overrides or []), place, force, Terminal())
    deviation = made.largest_deviation()
    if json:
        shown = {"file": place.shown(path), "count": made.count, "rows": len(made.table)}
        show_json(shown | {"largest_deviation": deviation})
        return
    from kit.report.tables import balance_table

    verb = "written" if state == "made" else "is there already, the same"
    show(balance_table(made))
    show(f"\n{place.shown(path)} {verb}. Every class is within {deviation:.2g} images of its share per fold.")

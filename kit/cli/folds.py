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
    """Split the training images into folds, prove the partition, and write folds/COMPETITION.csv.

    Classes are spread evenly, groups and duplicate images stay on one side.

    kit folds configs/leaves.yaml --set folds.count=10
    kit folds configs/leaves.yaml --set folds.keep_duplicates_together=near
    """
    from kit import pipeline
    from kit.cli.console import Terminal, show, show_json
    from kit.config.load import load_config
    from kit.folds.balance_report import balance_of
    from kit.storage.workspace import Workspace

    place = Workspace.open(workspace, data_root)
    loaded = load_config(config, overrides or [])
    made, path, state = pipeline.folds(loaded, place, force, Terminal())
    balances = [balance_of(made, loaded.folds, repeat) for repeat in range(len(made.columns))]
    deviation = max(balance.largest_deviation for balance in balances)
    if json:
        shown = {"file": place.shown(path), "count": made.count, "rows": len(made.table)}
        shown |= {"scheme": loaded.folds.scheme, "repeats": len(made.columns)}
        measures = {"chi_square": balances[0].chi_square, "p_value": balances[0].p_value}
        show_json(shown | {"largest_deviation": deviation} | measures)
        return
    from kit.report.tables import balance_table

    verb = "written" if state == "made" else "is there already, the same"
    show(*(balance_table(balance) for balance in balances))
    evenness = f"chi-square {balances[0].chi_square:.2f}, p {balances[0].p_value:.2g}"
    show(
        f"\n{place.shown(path)} {verb}. Classes are within {deviation:.2g} images of their share; {evenness}."
    )

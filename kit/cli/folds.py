"""``kit folds``: split the training images into folds."""

from typing import Annotated

import typer

from kit.cli.options import ConfigArgument, DataRootOption, JsonOption, SetOption, WorkspaceOption


def folds(
    config: ConfigArgument,
    overrides: SetOption = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Replace an existing folds CSV that differs; lists the runs that this makes stale.",
        ),
    ] = False,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
    data_root: DataRootOption = None,
) -> None:
    """Split the training images into stratified folds and write folds/COMPETITION.csv.

    Images of a group and duplicate images stay in one fold.

    kit folds configs/leaves.yaml --set folds.count=10
    kit folds configs/leaves.yaml --set folds.keep_duplicates_together=near
    """
    from kit import pipeline
    from kit.cli.console import Terminal, show, show_json, show_line
    from kit.cli.next_step import show_next_with_config
    from kit.report.tables import balance_table
    from kit.storage.provenance import renewal
    from kit.storage.workspace import Workspace
    from kit.training.trained_folds import retraining

    place = Workspace.open(workspace, data_root)
    done = pipeline.folds(
        config, overrides=overrides or [], force=force, workspace=place, progress=Terminal()
    )
    if json:
        show_json({"file": place.shown(done.path)} | done.as_dict())
        return
    show(*(balance_table(balance) for balance in done.balances))
    state = "written" if done.state == "made" else "exists already, unchanged"
    first = done.balances[0]
    most = f"{done.largest_deviation:.2g}"
    most += " image" if most == "1" else " images"
    show(
        f"\n{place.shown(done.path)} {state}. {first.rows.capitalize()} counts deviate from even ones by at "
        f"most {most}; "
        f"chi-square {first.chi_square:.2f}, p {first.p_value:.2g}."
    )
    for run in done.invalid:
        show_line(f"{run.label} was trained on other folds and is stale: {retraining(run)} --fresh")
    for blend in done.invalid_blends:
        show_line(f"{blend.label} blends a stale experiment; afterwards: {renewal(blend)}")
    show_next_with_config(place, "train", config, overrides)

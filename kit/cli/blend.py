"""``kit blend``: combine the predictions of several runs."""

from pathlib import Path
from typing import Annotated

import typer

from kit.cli import complete
from kit.cli.options import DataRootOption, JsonOption, WorkspaceOption


def blend(
    experiments: Annotated[
        list[str],
        typer.Argument(
            metavar="EXPERIMENT...", help="Experiments or blends to combine.", autocompletion=complete.runs
        ),
    ],
    method: Annotated[
        str,
        typer.Option(
            help="How to combine them; `kit components blends` lists the methods.",
            autocompletion=complete.entries("blends"),
        ),
    ] = "mean",
    option: Annotated[
        list[str] | None,
        typer.Option("--option", metavar="KEY=VALUE", help="An option of the method. Repeatable."),
    ] = None,
    name: Annotated[str, typer.Option(help="The name of the blend.")] = "blend",
    oof: Annotated[
        list[Path] | None,
        typer.Option(
            "--oof", metavar="CSV", help="Another tool's OOF probabilities: id and class columns. Repeatable."
        ),
    ] = None,
    test: Annotated[
        list[Path] | None,
        typer.Option("--test", metavar="CSV", help="The tool's test probabilities, in the order of --oof."),
    ] = None,
    allow_fold_mismatch: Annotated[
        bool,
        typer.Option("--allow-fold-mismatch", help="Average members with different folds, without a score."),
    ] = False,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
    data_root: DataRootOption = None,
) -> None:
    """Combine the predictions of several runs; score the blend on rows that its weights were not fitted on.

    kit blend leaves/first leaves/second --method hill_climb --name both
    kit blend leaves/first --oof theirs.csv --test theirs-test.csv
    """
    from kit import pipeline
    from kit.cli.console import Terminal, show, show_json, show_line
    from kit.cli.next_step import show_next
    from kit.ensemble.members import pairs_of_files
    from kit.ensemble.methods import parse_method
    from kit.report.blends import blend_tables, next_submission
    from kit.storage.workspace import Workspace

    place = Workspace.open(workspace, data_root)
    done = pipeline.blend(
        experiments,
        method=parse_method(method, option or []),
        name=name,
        foreign=pairs_of_files(oof or [], test or []),
        allow_fold_mismatch=allow_fold_mismatch,
        workspace=place,
        progress=Terminal(),
    )
    if json:
        show_json(done.as_dict())
        return
    show(*blend_tables(done.blended, done.evaluation), "")
    chosen = next_submission(done.blended)
    if chosen in (done.blended.run.label, *done.runs):
        show_next(place, "submit", chosen)
    else:
        show_line(f"Next: submit the file of {chosen}, which another tool made.")

"""``kit blend``."""

from pathlib import Path
from typing import Annotated

import typer

from kit.cli.options import DataRootOption, JsonOption, WorkspaceOption


def blend(
    experiments: Annotated[
        list[str], typer.Argument(metavar="EXPERIMENT...", help="Runs: experiments or blends.")
    ],
    method: Annotated[
        str, typer.Option(help="mean, gmean, rank, power, weights, hill_climb, stack or soup.")
    ] = "mean",
    option: Annotated[
        list[str] | None,
        typer.Option("--option", metavar="KEY=VALUE", help="Of the method: negative=true. Repeatable."),
    ] = None,
    name: Annotated[str, typer.Option(help="What to call the blend.")] = "blend",
    oof: Annotated[
        list[Path] | None,
        typer.Option(
            "--oof", metavar="CSV", help="Another tool's OOF probabilities: id and class columns. Repeatable."
        ),
    ] = None,
    test: Annotated[
        list[Path] | None,
        typer.Option("--test", metavar="CSV", help="Its test probabilities, in the order of --oof."),
    ] = None,
    allow_fold_mismatch: Annotated[
        bool,
        typer.Option("--allow-fold-mismatch", help="Average members of different folds, without a score."),
    ] = False,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
    data_root: DataRootOption = None,
) -> None:
    """Combine runs by id and class name into one, scored on rows that its weights were not fitted on.

    kit blend leaves/first leaves/second --method hill_climb --name both
    kit blend leaves/first --oof theirs.csv --test theirs-test.csv
    """
    from kit import pipeline
    from kit.cli.console import Terminal, show, show_json
    from kit.ensemble.members import pairs_of_files
    from kit.ensemble.methods import method_of
    from kit.report.blends import blend_tables
    from kit.storage.workspace import Workspace

    place = Workspace.open(workspace, data_root)
    runs = [place.find_run(spec) for spec in experiments]
    foreign = pairs_of_files(oof or [], test or [])
    done = pipeline.blend(
        runs, method_of(method, option or []), name, place, foreign, allow_fold_mismatch, Terminal()
    )
    evaluation = None if done.worth is None else pipeline.score(done.run, place)
    if json:
        values = {"experiment": done.run.label} if evaluation is None else evaluation.as_dict()
        show_json(values | {"worth": done.worth and done.worth.as_dict()})
        return
    show(*blend_tables(done, evaluation))
    to_submit = done.run.label if done.worth is None else done.worth.to_submit(done.run.label)
    known = to_submit == done.run.label or to_submit in [run.label for run in runs]
    show(f"\nNext: {'kit submit ' if known else 'hand in what belongs to '}{to_submit}")

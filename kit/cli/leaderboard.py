"""``kit leaderboard``: list every scored run and submission; record leaderboard scores."""

from __future__ import annotations

from typing import Annotated

import typer

from kit.cli import complete
from kit.cli.options import JsonOption, WorkspaceOption

app = typer.Typer()


@app.callback(invoke_without_command=True)
def leaderboard(
    context: typer.Context,
    competition: Annotated[
        str | None, typer.Option("--competition", metavar="NAME", help="Only this competition.")
    ] = None,
    kind: Annotated[
        str | None, typer.Option("--kind", metavar="KIND", help="Only experiment, blend or submission.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="PATTERN", help="Only matching names: --name 'b*'.")
    ] = None,
    sort: Annotated[
        str, typer.Option("--sort", metavar="BY", help="Sort by cv, public, private, date, minutes or name.")
    ] = "cv",
    csv: Annotated[bool, typer.Option("--csv", help="Print the rows as CSV.")] = False,
    page: Annotated[
        bool, typer.Option("--page", help="Also write an HTML page: all rows, and CV against leaderboard.")
    ] = False,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
) -> None:
    """List every experiment, blend and submission: CV, leaderboard scores, and what changed.

    Also report the rank correlation of CV and leaderboard, and which two submissions to select for the final.

    kit leaderboard --competition leaves --sort date

    kit leaderboard --page

    kit leaderboard record submissions/leaves/first.csv --public 0.81
    """
    if context.invoked_subcommand is not None:
        _refuse_options_before_verb(context)
        return
    from kit import pipeline
    from kit.cli.console import Terminal, show, show_json
    from kit.cli.next_step import show_next
    from kit.errors import KitError
    from kit.report.leaderboard import entries_csv, leaderboard_tables, next_arguments
    from kit.storage.workspace import Workspace

    if csv and json:
        raise KitError(
            "kit leaderboard", "prints CSV or JSON", next="Omit --csv or --json.", code="csv_and_json"
        )
    place = Workspace.open(workspace)
    found = pipeline.leaderboard(
        competition=competition,
        kind=kind,
        name=name,
        sort=sort,
        advice=not csv,
        page=page,
        workspace=place,
    )
    if json:
        show_json(found.as_dict())
        return
    for problem in found.problems:
        Terminal().warn(str(problem))
    for path in found.pages:
        Terminal().note(f"page written: {place.shown(path)}")
    if csv:
        typer.echo(entries_csv(found.entries), nl=False)
    elif found.is_empty:
        show("No run has a score yet.")
        show_next(place, "quickstart", reads_data=False)
    elif not found.entries:
        show("No row matches --kind and --name.")
        show_next(place, "leaderboard", reads_data=False)
    else:
        show(*leaderboard_tables(found.entries, found.correlations, found.selections), "")
        show_next(place, *next_arguments(found.entries))


def _refuse_options_before_verb(context: typer.Context) -> None:
    """Refuse options before ``record``: they apply to the list only and would be ignored."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    passed = [name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"]
    if passed:
        raise typer.BadParameter(
            f"options must come after '{context.invoked_subcommand}': --{passed[0]}", ctx=context
        )


@app.command("record")
def record(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="A submission: its path, COMPETITION/NAME, or NAME.",
            autocompletion=complete.submissions,
        ),
    ],
    public: Annotated[
        float | None, typer.Option("--public", metavar="SCORE", help="Score on the public leaderboard.")
    ] = None,
    private: Annotated[
        float | None, typer.Option("--private", metavar="SCORE", help="Score on the private leaderboard.")
    ] = None,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Record the leaderboard scores of a submission; without --public or --private, that score stays.

    kit leaderboard record leaves/first --public 0.81
    kit leaderboard record submissions/leaves/first.csv --public 0.81 --private 0.80
    """
    from kit import pipeline
    from kit.cli.console import Terminal, show_json, show_line
    from kit.cli.next_step import show_next
    from kit.storage.workspace import Workspace

    place = Workspace.open(workspace)
    done = pipeline.record(file, public=public, private=private, workspace=place)
    shown = place.shown(done.file.path)
    if json:
        known = {"file": shown, "competition": done.file.competition, "name": done.file.name}
        show_json(known | done.as_dict())
        return
    if done.replaced:
        Terminal().note(f"replaced the scores of an earlier {done.file.path.name} with other bytes")
    show_line(f"{shown}: {', '.join(done.summary)} recorded.")
    show_next(place, "leaderboard", "--competition", done.file.competition, reads_data=False)

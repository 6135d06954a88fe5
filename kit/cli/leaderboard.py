"""``kit leaderboard``."""

from __future__ import annotations

from typing import Annotated

import typer

from kit.cli.options import JsonOption, WorkspaceOption

app = typer.Typer()


@app.callback(invoke_without_command=True)
def leaderboard(
    context: typer.Context,
    competition: Annotated[
        str | None, typer.Option("--competition", metavar="NAME", help="Only this one.")
    ] = None,
    kind: Annotated[
        str | None, typer.Option("--kind", metavar="KIND", help="Only experiment, blend or submission.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="PATTERN", help="Only names that fit: --name 'b*'.")
    ] = None,
    sort: Annotated[
        str, typer.Option("--sort", metavar="BY", help="By cv, public, private, date, minutes or name.")
    ] = "cv",
    csv: Annotated[
        bool, typer.Option("--csv", help="Print the rows as CSV on stdout, nothing else.")
    ] = False,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
) -> None:
    """List every experiment, blend and submission: its CV, what the leaderboard said, and what was changed.

    Says, too, whether CV and leaderboard rank alike, and which two submissions to select for the final.

    kit leaderboard --competition leaves --sort date

    kit leaderboard record submissions/leaves/first.csv --public 0.81
    """
    if context.invoked_subcommand is not None:
        _refuse_options_before(context)
        return
    from kit.cli.console import Terminal, show, show_json
    from kit.errors import KitError
    from kit.leaderboard.correlation import correlations
    from kit.leaderboard.entries import read_ledger
    from kit.leaderboard.order import in_order, of_competition, picked
    from kit.leaderboard.selection import selections
    from kit.storage.workspace import Workspace

    if csv and json:
        raise KitError("kit leaderboard", "prints CSV or JSON", "", "Leave out --csv or --json.")
    place = Workspace.open(workspace)
    ledger = read_ledger(place)
    all_of_it = of_competition(ledger.entries, competition)
    entries = in_order(picked(all_of_it, kind, name), sort)
    problems = list(ledger.problems)
    if not csv:
        related, chosen = correlations(all_of_it), selections(all_of_it, place, problems)
    if json:
        show_json(
            {
                "entries": [entry.as_dict() for entry in entries],
                "correlation": [each.as_dict() for each in related],
                "select": [each.as_dict() for each in chosen],
                "problems": [problem.as_dict() for problem in problems],
            }
        )
        return
    from kit.report.leaderboard import entries_csv, leaderboard_tables

    for problem in problems:
        Terminal().warn(str(problem))
    if csv:
        typer.echo(entries_csv(entries), nl=False)
    elif not ledger.entries:
        show("Nothing is scored yet. Try: kit quickstart")
    elif not entries:
        show("No row is of that kind and name.")
    else:
        show(*leaderboard_tables(entries, related, chosen))


def _refuse_options_before(context: typer.Context) -> None:
    """Refuse options that stand before ``record``: they are the list's, and would do nothing there."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    given = [name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"]
    if given:
        raise typer.BadParameter(
            f"options stand after '{context.invoked_subcommand}': --{given[0]}", ctx=context
        )


@app.command("record")
def record(
    file: Annotated[
        str,
        typer.Argument(metavar="FILE", help="The submission: its path, COMPETITION/NAME, or its bare name."),
    ],
    public: Annotated[
        float | None, typer.Option("--public", metavar="SCORE", help="On the public leaderboard.")
    ] = None,
    private: Annotated[
        float | None, typer.Option("--private", metavar="SCORE", help="On the private one, after the end.")
    ] = None,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Write down what the leaderboard said of a submission, beside it; what is not given stays as it was.

    kit leaderboard record submissions/leaves/first.csv --public 0.81 --private 0.80
    """
    from kit.cli.console import Terminal, show, show_json
    from kit.leaderboard.record import record as write_down
    from kit.storage.workspace import Workspace

    place = Workspace.open(workspace)
    done = write_down(file, place, public, private)
    shown = place.shown(done.file.path)
    if json:
        known = {"file": shown, "competition": done.file.competition, "name": done.file.name}
        show_json(known | done.as_dict())
        return
    if done.replaced:
        Terminal().note(f"what was recorded before was of another {done.file.path.name}: it is gone")
    show(f"{shown}: {', '.join(done.told)} recorded.")

"""``kit leaderboard``."""

from kit.cli.options import JsonOption, WorkspaceOption


def leaderboard(json: JsonOption = False, workspace: WorkspaceOption = None) -> None:
    """List every experiment and blend by its out-of-fold score.

    kit leaderboard --json
    """
    from kit.cli.console import show, show_json
    from kit.ledger import leaderboard as read_entries
    from kit.workspace import Workspace

    entries = read_entries(Workspace.open(workspace))
    if json:
        show_json({"entries": [entry.as_dict() for entry in entries]})
    elif not entries:
        show("Nothing is scored yet. Try: kit quickstart")
    else:
        from kit.report.tables import leaderboard_table

        show(leaderboard_table(entries))

"""``kit quickstart``."""

from kit.cli.options import JsonOption, WorkspaceOption


def quickstart(json: JsonOption = False, workspace: WorkspaceOption = None) -> None:
    """See the whole way, in two minutes, on the handwritten digits that scikit-learn ships.

    Writes data/digits, trains two small models on five folds, blends them, and scores the checked
    submission against labels that were held back. Run again, it says what is done already.
    """
    from kit.cli.console import Terminal, show, show_json
    from kit.quickstart import quickstart as run_quickstart
    from kit.storage.workspace import Workspace

    place = Workspace.open(workspace)
    done = run_quickstart(place, Terminal())
    if json:
        show_json(done.as_dict())
        return
    from kit.report.tables import scores_table

    rows = [(s.name, s.evaluation.cv, s.held_out) for s in (*done.experiments, done.blend)]
    show(scores_table(rows, done.metric))
    show(f"\n{place.shown(done.submission)}  checked, ready to hand in  ({done.seconds:.0f} s)")

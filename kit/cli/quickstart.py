"""``kit quickstart``: the whole pipeline on bundled digits."""

from kit.cli.options import JsonOption, WorkspaceOption


def quickstart(json: JsonOption = False, workspace: WorkspaceOption = None) -> None:
    """Run the whole pipeline on the handwritten digits of scikit-learn: about a minute on a CPU.

    Write data/digits, train two small models on five folds, blend them, and score the checked
    submission on held-out labels. A second run skips finished steps.

    kit quickstart
    kit quickstart --json
    """
    from kit.cli.console import Terminal, show, show_json, show_line
    from kit.cli.next_step import show_next
    from kit.quickstart import quickstart as run_quickstart
    from kit.report.tables import scores_table
    from kit.storage.workspace import Workspace

    place = Workspace.open(workspace)
    done = run_quickstart(workspace=place, progress=Terminal())
    if json:
        show_json(done.as_dict())
        return
    rows = [(s.name, s.evaluation.cv, s.held_out) for s in (*done.experiments, done.blend)]
    show(scores_table(rows, done.metric))
    show_line(f"\n{place.shown(done.submission)}  checked, ready to submit  ({done.seconds:.0f} s)")
    show_next(place, "leaderboard", reads_data=False)

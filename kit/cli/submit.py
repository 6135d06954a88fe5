"""``kit submit``."""

from kit.cli.options import DataRootOption, JsonOption, RunArgument, WorkspaceOption


def submit(
    experiment: RunArgument,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
    data_root: DataRootOption = None,
) -> None:
    """Write submissions/COMPETITION/NAME.csv in exactly the sample's form, proved before it is written.

    kit submit leaves/first
    """
    from kit.cli.console import Terminal, show, show_json
    from kit.submission.submit import submit as write_submission
    from kit.workspace import Workspace

    place = Workspace.open(workspace, data_root)
    done = write_submission(place.find_run(experiment), place, Terminal())
    file = place.shown(done.file)
    if json:
        problems = [problem.as_dict() for problem in done.problems]
        values = {"file": file, "rows": done.rows, "cv": done.cv, "mirror": done.mirror, "problems": problems}
        leaks = [leak.test_id for leak in done.leaks]
        show_json(
            values | {"unreadable": list(done.unreadable), "leaks": leaks, "leaks_used": done.leaks_used}
        )
        return
    verb = "written" if done.written else "is there already, the same"
    show(f"{file} {verb}: {done.rows} rows, checked.")
    if done.cv is None:
        show("No CV: its members come from different folds. The form is proved all the same.")
        return
    if done.mirror is None:
        proof = f"the form keeps only labels, from which {done.metric} cannot be told"
    else:
        proof = f"the same predictions, written in this form and read back, score {done.mirror:.4f}"
    show(f"CV {done.metric} {done.cv:.4f}; {proof}.")

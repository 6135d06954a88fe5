"""``kit evaluate``."""

from kit.cli.options import JsonOption, RunArgument, WorkspaceOption


def evaluate(experiment: RunArgument, json: JsonOption = False, workspace: WorkspaceOption = None) -> None:
    """Score the out-of-fold predictions of an experiment or blend: folds, classes, confusions.

    kit evaluate leaves/first
    """
    from kit import pipeline
    from kit.cli.console import show, show_json
    from kit.workspace import Workspace

    place = Workspace.open(workspace)
    run = place.find_run(experiment)
    evaluation = pipeline.score(run, place)
    if json:
        show_json(evaluation.as_dict())
        return
    from kit.report.tables import evaluation_tables

    show(*evaluation_tables(evaluation))
    show(f"\nWith curves: {place.shown(run.report)}")

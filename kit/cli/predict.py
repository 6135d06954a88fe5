"""``kit predict``."""

from typing import Annotated

import typer

from kit.cli.options import DataRootOption, JsonOption, RunArgument, TimeLimitOption, WorkspaceOption


def predict(
    experiment: RunArgument,
    tta: Annotated[
        list[str] | None, typer.Option(help="A view to average instead of the config's. Repeatable.")
    ] = None,
    time_limit: TimeLimitOption = None,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
    data_root: DataRootOption = None,
) -> None:
    """Ask every fold's model: out-of-fold predictions, scored, and test predictions, averaged over the folds.

    kit predict leaves/first --tta identity --tta hflip
    """
    from kit import pipeline
    from kit.allowance import Allowance
    from kit.cli.console import Terminal, show, show_json
    from kit.workspace import Workspace

    allowance = Allowance.of(time_limit)
    place = Workspace.open(workspace, data_root)
    run = place.find_run(experiment)
    evaluation, predicted = pipeline.predict(run, place, tta, Terminal(), allowance)
    if json:
        show_json(evaluation.as_dict())
        return
    already = "" if predicted else " (these models had predicted already)"
    views = ", ".join(evaluation.tta)
    show(f"{run.label}: out-of-fold {evaluation.metric} {evaluation.cv:.4f}, views {views}{already}")
    show(f"Next: kit submit {run.label}")

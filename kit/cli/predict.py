"""``kit predict``."""

from typing import Annotated

import typer

from kit.cli.options import DataRootOption, JsonOption, RunArgument, TimeLimitOption, WorkspaceOption


def predict(
    experiment: RunArgument,
    tta: Annotated[
        list[str] | None,
        typer.Option(
            help="A view instead of the config's: hflip, d4, five_crop, multi_scale, random and others, "
            "or with options '{name: random, times: 4}'. Repeatable."
        ),
    ] = None,
    merge: Annotated[
        str | None, typer.Option(help="How views are merged: mean, gmean, logit_mean, max or rank.")
    ] = None,
    time_limit: TimeLimitOption = None,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
    data_root: DataRootOption = None,
) -> None:
    """Ask every fold's model: out-of-fold predictions, scored, and test predictions, averaged over the folds.

    kit predict leaves/first --tta identity --tta hflip
    kit predict leaves/first --tta identity --tta '{name: random, times: 4}' --merge gmean
    """
    from kit import pipeline
    from kit.cli.console import Terminal, show, show_json
    from kit.config.load import read_components
    from kit.runtime.deadline import Deadline
    from kit.storage.workspace import Workspace

    deadline = Deadline.of(time_limit)
    views = read_components(tta, "--tta") if tta else None
    place = Workspace.open(workspace, data_root)
    run = place.find_run(experiment)
    evaluation, predicted = pipeline.predict(run, place, views, Terminal(), deadline, merge)
    if json:
        show_json(evaluation.as_dict())
        return
    already = "" if predicted else " (these models had predicted already)"
    seen = ", ".join(evaluation.tta)
    show(f"{run.label}: out-of-fold {evaluation.metric} {evaluation.cv:.4f}, views {seen}{already}")
    show(f"Next: kit submit {run.label}")

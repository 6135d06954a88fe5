"""``kit blend``."""

from typing import Annotated

import typer

from kit.cli.options import JsonOption, WorkspaceOption


def blend(
    experiments: Annotated[list[str], typer.Argument(metavar="EXPERIMENT...", help="Two or more runs.")],
    method: Annotated[str, typer.Option(help="mean or gmean.")] = "mean",
    name: Annotated[str, typer.Option(help="What to call the blend.")] = "blend",
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Combine several runs by id and class name into one, scored like an experiment.

    kit blend leaves/first leaves/second --method gmean --name both
    """
    from kit import pipeline
    from kit.cli.console import show, show_json
    from kit.workspace import Workspace

    place = Workspace.open(workspace)
    run, evaluation = pipeline.blend([place.find_run(spec) for spec in experiments], method, name, place)
    if json:
        show_json(evaluation.as_dict())
        return
    show(f"{run.label}: out-of-fold {evaluation.metric} {evaluation.cv:.4f}, {method} of {len(experiments)}")
    show(f"Next: kit submit {run.label}")

"""Arguments and options that several verbs share."""

from pathlib import Path
from typing import Annotated

import typer

JSON_KEY = "json"


def _remember_json(context: typer.Context, wanted: bool) -> bool:
    """Store --json in the context, so that errors are printed as JSON, too."""
    if wanted:
        context.find_root().ensure_object(dict)[JSON_KEY] = True
    return wanted


ConfigArgument = Annotated[Path, typer.Argument(metavar="CONFIG", help="The YAML file of an experiment.")]
RunArgument = Annotated[
    str,
    typer.Argument(metavar="EXPERIMENT", help="COMPETITION/NAME, NAME, or the path of its folder."),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a value: --set train.lr=3e-4. Repeatable."),
]
JsonOption = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON object on stdout.", callback=_remember_json),
]
WorkspaceOption = Annotated[
    Path | None,
    typer.Option(
        "--workspace",
        metavar="DIR",
        help="Folder of configs, folds, runs and submissions. Default: the current folder.",
    ),
]
DataRootOption = Annotated[
    Path | None,
    typer.Option(
        "--data-root", metavar="DIR", help="Folder of competition folders. Default: $KIT_DATA, then data/."
    ),
]
FreshOption = Annotated[
    bool, typer.Option("--fresh", help="Discard the results of earlier runs of the experiment.")
]
DevicesOption = Annotated[
    str | None,
    typer.Option(
        "--devices",
        metavar="0,1",
        help="GPUs that train folds at the same time; cpu:2: parts of the processor. Default: all GPUs.",
    ),
]
TimeLimitOption = Annotated[
    str | None,
    typer.Option(
        "--time-limit",
        metavar="8h30m",
        help="Stop before this time is over, with a checkpoint; the same command resumes.",
    ),
]

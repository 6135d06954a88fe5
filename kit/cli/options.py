"""The arguments and options that verbs share, each said once."""

from pathlib import Path
from typing import Annotated

import typer

JSON_KEY = "json"


def _remember_json(context: typer.Context, wanted: bool) -> bool:
    """Let errors know, too, that this run answers a machine."""
    if wanted:
        context.find_root().ensure_object(dict)[JSON_KEY] = True
    return wanted


ConfigArgument = Annotated[Path, typer.Argument(metavar="CONFIG", help="The YAML of an experiment.")]
RunArgument = Annotated[
    str,
    typer.Argument(metavar="EXPERIMENT", help="COMPETITION/NAME, the bare name, or a path to its folder."),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a value: --set train.lr=3e-4. Repeatable."),
]
JsonOption = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON object on stdout, nothing else.", callback=_remember_json),
]
WorkspaceOption = Annotated[
    Path | None,
    typer.Option(
        "--workspace", metavar="DIR", help="Where configs, folds, runs and submissions lie. Default: here."
    ),
]
DataRootOption = Annotated[
    Path | None,
    typer.Option(
        "--data-root", metavar="DIR", help="Where competition folders lie. Default: $KIT_DATA, then data/."
    ),
]
FreshOption = Annotated[bool, typer.Option("--fresh", help="Throw away what an earlier run of it left.")]
TimeLimitOption = Annotated[
    str | None,
    typer.Option(
        "--time-limit",
        metavar="8h30m",
        help="Stop cleanly before so much time is over; the same command goes on.",
    ),
]

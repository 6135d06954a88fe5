"""Arguments and options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kit.cli import complete

if TYPE_CHECKING:
    from kit.parallel.devices import Devices

JSON_KEY = "json"


def _remember_json(context: typer.Context, wanted: bool) -> bool:
    """Store --json in the context, so that errors are printed as JSON, too."""
    if wanted:
        context.find_root().ensure_object(dict)[JSON_KEY] = True
    return wanted


ConfigArgument = Annotated[
    Path,
    typer.Argument(metavar="CONFIG", help="The YAML file of an experiment.", autocompletion=complete.configs),
]
RunArgument = Annotated[
    str,
    typer.Argument(
        metavar="EXPERIMENT",
        help="COMPETITION/NAME, NAME, or the path of its folder.",
        autocompletion=complete.runs,
    ),
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
RayOption = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help="Train folds on the nodes of a Ray cluster: auto, HOST:PORT, or local for this machine.",
    ),
]
FoldGpusOption = Annotated[
    float | None,
    typer.Option(
        "--fold-gpus", metavar="0.5", min=0, help="With --ray: GPUs of a fold. Default: 1, if there are any."
    ),
]
FoldCpusOption = Annotated[
    int, typer.Option("--fold-cpus", metavar="4", min=1, help="With --ray: cores of a fold.")
]
TimeLimitOption = Annotated[
    str | None,
    typer.Option(
        "--time-limit",
        metavar="8h30m",
        help="Stop before this time is over, with a checkpoint; the same command resumes.",
    ),
]


def devices_of(devices: str | None, ray: str | None, fold_gpus: float | None, fold_cpus: int) -> Devices:
    """Return what trains folds at the same time, as the options name it.

    Raises:
        KitError: Both ``--devices`` and ``--ray`` are given, or options of a cluster without one.
    """
    from kit.errors import KitError
    from kit.parallel.devices import Cluster

    if devices is not None and ray is not None:
        raise KitError(
            "--devices",
            "is given with --ray",
            "The nodes of a cluster choose their own devices",
            "Omit one of them.",
            code="devices_and_ray",
        )
    if ray is not None:
        return Cluster(ray, fold_gpus, fold_cpus)
    if fold_gpus is not None or fold_cpus != 1:
        raise KitError(
            "--fold-gpus" if fold_gpus is not None else "--fold-cpus",
            "is given without --ray",
            "It says what a fold gets of a cluster",
            "Add --ray ADDRESS.",
            code="ray_missing",
        )
    return devices

"""``kit predict``: predict with every fold's model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kit.cli.options import DataRootOption, JsonOption, RunArgument, TimeLimitOption, WorkspaceOption

if TYPE_CHECKING:
    from kit.config import Component
    from kit.storage.workspace import Workspace


def predict(
    experiment: RunArgument,
    tta: Annotated[
        list[str] | None,
        typer.Option(
            help="A TTA view instead of the config's; `kit components views` lists them. "
            "With options: '{name: random, times: 4}'. Repeatable."
        ),
    ] = None,
    merge: Annotated[
        str | None, typer.Option(help="How to merge the views; `kit components merges` lists the methods.")
    ] = None,
    embeddings: Annotated[
        bool,
        typer.Option(
            "--embeddings", help="Also write every image as a vector: `fold-K/embeddings.parquet` of the run."
        ),
    ] = False,
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Predict the images below this folder instead; the training images are not needed.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.csv", help="With --images: the CSV to write, an id and a column per class."
        ),
    ] = None,
    time_limit: TimeLimitOption = None,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
    data_root: DataRootOption = None,
) -> None:
    """Predict with every fold's model: out-of-fold predictions (scored) and test predictions (averaged).

    kit predict leaves/first --tta identity --tta hflip
    kit predict leaves/first --embeddings
    kit predict leaves/first --images holiday --out holiday.csv
    """
    from kit import pipeline
    from kit.cli.console import Terminal, show_json, show_line
    from kit.cli.next_step import show_next
    from kit.config.load import read_components
    from kit.errors import KitError
    from kit.storage.workspace import Workspace

    place = Workspace.open(workspace, data_root)
    components = read_components(tta, "--tta") if tta else None
    if (images is None) != (out is None):
        raise KitError(
            "kit predict",
            "needs --images and --out together",
            "--images is a folder of new images, --out the CSV of their predictions",
            "kit predict NAME --images FOLDER --out FILE.csv",
            code="images_and_out_go_together",
        )
    if images is not None and out is not None:
        _predict_images(experiment, images, out, components, merge, time_limit, json, place)
        return
    done = pipeline.predict(
        experiment,
        tta=components,
        merge=merge,
        embeddings=embeddings,
        time_limit=time_limit,
        workspace=place,
        progress=Terminal(),
    )
    evaluation = done.evaluation
    if json:
        show_json(evaluation.as_dict())
        return
    already = "" if done.predicted else " (predicted already by the same models)"
    views = ", ".join(evaluation.tta)
    show_line(
        f"{done.run.label}: out-of-fold {evaluation.metric} {evaluation.cv:.4f}, views {views}{already}"
    )
    show_next(place, "submit", done.run.label)


def _predict_images(
    experiment: str,
    images: Path,
    out: Path,
    tta: list[Component] | None,
    merge: str | None,
    time_limit: str | None,
    json: bool,
    place: Workspace,
) -> None:
    from kit import pipeline
    from kit.cli.console import Terminal, show_json, show_line
    from kit.cli.next_step import show_next
    from kit.errors import counted

    new = pipeline.predict_images(
        experiment,
        images=images,
        out=out,
        tta=tta,
        merge=merge,
        time_limit=time_limit,
        workspace=place,
        progress=Terminal(),
    )
    if json:
        show_json(new.as_dict())
    else:
        show_line(f"{new.file} written: {counted(new.num_images, 'image')}")
        show_next(place, "bundle", new.run.label, "--out", "bundle")

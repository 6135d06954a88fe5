"""``kit evaluate``."""

from enum import StrEnum
from typing import Annotated

import typer

from kit.cli.options import JsonOption, RunArgument, WorkspaceOption


class Pooling(StrEnum):
    """How the probabilities of an image's crops become one."""

    MAX = "max"
    MEAN = "mean"


def evaluate(
    experiment: RunArgument,
    per_image: Annotated[
        Pooling | None, typer.Option(help="Pool the predictions of crops into ones of their images.")
    ] = None,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Score out-of-fold predictions: per fold, over all rows, per class, held-out sets, the confusions.

    kit evaluate leaves/leaves
    kit evaluate cells/cells --per-image max
    """
    from kit import pipeline
    from kit.cli.console import show, show_json
    from kit.per_image import pool_run
    from kit.workspace import Workspace

    place = Workspace.open(workspace)
    run = place.find_run(experiment)
    evaluation = pipeline.score(run, place)
    pooled = pool_run(run, place, per_image.value) if per_image else []
    if json:
        images = {each.name: each.scores for each in pooled}
        show_json(evaluation.as_dict() | ({"per_image": images} if per_image else {}))
        return
    from kit.report.tables import evaluation_tables, per_image_table

    show(*evaluation_tables(evaluation), *([per_image_table(pooled)] if pooled else []))
    show(f"\nWith curves: {place.shown(run.report)}")

"""``kit evaluate``: score out-of-fold predictions."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from kit.cli import complete
from kit.cli.options import DataRootOption, JsonOption, WorkspaceOption

if TYPE_CHECKING:
    from kit.storage.workspace import Workspace


class Pooling(StrEnum):
    """How to combine the probabilities of the crops of an image."""

    MAX = "max"
    MEAN = "mean"


def evaluate(
    experiments: Annotated[
        list[str],
        typer.Argument(
            metavar="EXPERIMENT...",
            help="COMPETITION/NAME, NAME, or a folder; several are compared on the same rows.",
            autocompletion=complete.runs,
        ),
    ],
    decide: Annotated[
        list[str] | None,
        typer.Option(
            help="A postprocessing step to fit instead of the config's; `kit components steps` lists them. "
            "With options: '{name: thresholds, at_least_one: true}'. Repeatable."
        ),
    ] = None,
    tta_report: Annotated[
        bool, typer.Option("--tta-report", help="Measure what each TTA view adds to score and time.")
    ] = False,
    per_image: Annotated[
        Pooling | None, typer.Option(help="Combine the predictions of crops of an image, and score images.")
    ] = None,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
    data_root: DataRootOption = None,
) -> None:
    """Score out-of-fold predictions: per fold and class, with intervals; list likely label errors.

    Several are compared: paired differences with intervals, classes, and images that one gets wrong.

    kit evaluate leaves/leaves
    kit evaluate leaves/first leaves/second
    kit evaluate leaves/leaves --decide '{name: thresholds, at_least_one: true}'
    kit evaluate leaves/leaves --tta-report
    kit evaluate cells/cells --per-image max
    """
    from kit import pipeline
    from kit.cli.console import Terminal, show, show_json, show_line
    from kit.cli.next_step import show_next
    from kit.config.load import read_components
    from kit.storage.workspace import Workspace

    steps = read_components(decide, "--decide") if decide else None
    place = Workspace.open(workspace, data_root)
    if len(experiments) > 1:
        _refuse_options(steps, tta_report, per_image)
        _compare(place, experiments, json)
        return
    run = place.find_run(experiments[0])
    if tta_report:
        from kit.report.views import tta_tables

        report = pipeline.tta_ablation(run, workspace=place, progress=Terminal())
        if json:
            show_json(report.as_dict())
            return
        show(*tta_tables(report))
        if report.cheapest.views == report.configured.views:
            show_next(place, "submit", run.label)
        else:
            views = [part for view in report.cheapest.views for part in ("--tta", view)]
            show_next(place, "predict", run.label, *views)
        return
    evaluation = pipeline.evaluate(run, decide=steps, workspace=place, progress=Terminal())
    pooled = pipeline.pool_crops(run, how=per_image.value, workspace=place) if per_image else []
    if json:
        images = {result.name: result.scores for result in pooled}
        show_json(evaluation.as_dict() | ({"per_image": images} if per_image else {}))
        return
    from kit.report.evaluations import evaluation_tables
    from kit.report.tables import per_image_table

    show(*evaluation_tables(evaluation), *([per_image_table(pooled)] if pooled else []))
    errors = run.residuals if evaluation.residuals else run.confusion
    show_line(f"\nReport: {place.shown(run.report)}; tables beside it: {errors.name}, {run.suspects.name}")
    show_next(place, "submit", run.label)


def _refuse_options(steps: object, tta_report: bool, per_image: object) -> None:
    """Refuse options that score one run: with several they would be ignored."""
    from kit.errors import KitError

    given = {"--decide": steps, "--tta-report": tta_report, "--per-image": per_image}
    for name, value in given.items():
        if value:
            raise KitError(
                name, "scores one run", "Several runs are compared as they are", code="one_run_only"
            )


def _compare(place: "Workspace", experiments: list[str], json: bool) -> None:
    from kit import pipeline
    from kit.cli.console import Terminal, show, show_json, show_line
    from kit.cli.next_step import show_next
    from kit.report.comparisons import comparison_tables

    done = pipeline.compare(experiments, workspace=place, progress=Terminal())
    if json:
        show_json(done.as_dict())
        return
    show(*comparison_tables(done))
    competition = done.runs[0].label.split("/")[0]
    show_line(f"\nPage with the images: {place.shown(place.page(competition, 'compare'))}")
    show_next(place, "blend", *(each.label for each in done.runs))

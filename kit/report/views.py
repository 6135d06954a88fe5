"""Terminal tables of scores and costs of test-time augmentation."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

from kit.errors import counted
from kit.evaluation.tta_ablation import TtaReport, ViewSetScore
from kit.report.tables import plain_table


def tta_tables(report: TtaReport) -> list[Table | str]:
    """Return the scores and costs of views, the forward selection, and which views to use."""
    return [_views(report), _path(report), *_advice(report)]


def _views(report: TtaReport) -> Table:
    better = "higher" if report.higher_is_better else "lower"
    columns = ("images", "alone", "gain alone", "gain with identity", "95 % interval", "s / 1,000 images")
    title = (
        f"{escape(report.experiment)}: views by {report.metric} ({better} is better), "
        f"{counted(report.rows, 'image')}"
    )
    table = plain_table("view", *columns, title=title, right=columns, optional=("images", "gain alone"))
    for view in report.views:
        table.add_row(
            escape(view.view),
            str(view.images),
            f"{view.score:.4f}",
            f"{view.alone.value:+.4f}",
            f"{view.added.value:+.4f}",
            view.added.interval.text(signed=True),
            f"{view.seconds:.1f}",
        )
    table.caption = f"reading the images takes {report.reading:.1f} s / 1,000, once for all views"
    return table


def _path(report: TtaReport) -> Table:
    columns = ("score", "gain", "95 % interval", "s / 1,000 images")
    table = plain_table("merged views", *columns, right=columns)
    for step in report.path:
        table.add_row(*_row(step))
    table.add_row(f"configured: {_names(report.configured)}", *_row(report.configured)[1:])
    return table


def _row(step: ViewSetScore) -> tuple[str, ...]:
    return (
        _names(step),
        f"{step.score:.4f}",
        f"{step.gain.value:+.4f}",
        step.gain.interval.text(signed=True),
        f"{step.seconds:.1f}",
    )


def _names(step: ViewSetScore) -> str:
    return escape(" ".join(step.views))


def _advice(report: TtaReport) -> list[str]:
    nested, cheapest = report.nested, report.cheapest
    named = escape(", ".join(cheapest.views))
    return [
        f"Best: {_names(report.best)}, {report.best.score:.4f} (optimistic: chosen on the same rows).",
        f"Nested score, with the best set of the other folds: {nested.score:.4f}, {nested.gain.value:+.4f} "
        f"over identity, 95 % interval {nested.gain.interval.text(signed=True)}.",
        f"[bold]Fastest within noise of the best: tta: \\[{named}][/bold]",
    ]

"""Show what ``kit sweep`` found: the score to expect of the best, and one table of all combinations."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from kit.errors import counted
from kit.pipeline.display import shows
from kit.report.notebook import Parts
from kit.report.tables import plain_table
from kit.runtime.deadline import duration
from kit.sweep.compare import Compared
from kit.sweep.experiments import shown_value
from kit.sweep.sweep import SweepResult

NUMBERS = ("CV", "difference", "95 % interval", "time")


def short_names(keys: Sequence[str]) -> list[str]:
    """Return the names of keys for a narrow table: their last part, where that tells them apart.

    >>> short_names(["train.lr", "model.name"]), short_names(["train.size", "image.size"])
    (['lr', 'model'], ['train.size', 'image.size'])
    """
    short = [key.removesuffix(".name").split(".")[-1] for key in keys]
    return short if len(set(short)) == len(keys) else list(keys)


@shows(SweepResult)
def _sweep(result: SweepResult) -> Parts:
    return [*summary(result), *sweep_tables(result)]


def sweep_tables(result: SweepResult) -> list[Table]:
    """Return the finished combinations, best first, and those that were pruned or have failed."""
    better = "higher" if result.higher_is_better else "lower"
    title = f"{escape(result.competition)}: {result.metric} ({better} is better)"
    columns = ("experiment", *short_names(result.keys), *NUMBERS)
    table = plain_table(*columns, title=title, right=NUMBERS, whole=("experiment",), optional=("time",))
    for each in result.finished:
        cells = [escape(shown_value(each.values[key])) for key in result.keys]
        table.add_row(escape(each.name), *cells, f"{each.cv:.4f}", *_difference(each), duration(each.seconds))
    return [table, *_unfinished(result)]


def _difference(each: Compared) -> tuple[str, str]:
    if each.interval is None:
        return "", ""
    interval = each.interval
    return f"{each.gain:+.4f}", interval.text(signed=True)


def _unfinished(result: SweepResult) -> list[Table]:
    if not result.unfinished:
        return []
    table = plain_table("not finished", *short_names(result.keys), "state", "why", whole=("not finished",))
    for each in result.unfinished:
        cells = [escape(shown_value(each.values[key])) for key in result.keys]
        table.add_row(escape(each.name), *cells, each.state, escape(each.why))
    return [table]


def summary(result: SweepResult) -> list[str]:
    """Return the score to expect first, then the optimistic one, then what the intervals tell."""
    lines = [] if result.corrected is None else [result.corrected.text(result.metric)]
    best, count = result.best, len(result.finished)
    if count == 1:
        return [*lines, f"{result.competition}/{best.name}: out-of-fold {best.cv:.4f}"]
    lines.append(
        f"{result.competition}/{best.name}: out-of-fold {best.cv:.4f}, which is optimistic: "
        f"the best of {counted(count, 'score')} on these rows"
    )
    others = result.finished[1:]
    clear = sum(each.interval is not None and each.interval.is_below_zero for each in others)
    lines.append(f"worse than the best beyond noise: {clear} of the {counted(len(others), 'other')}")
    return lines

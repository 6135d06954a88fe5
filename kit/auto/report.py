"""Show what ``kit auto`` made: a table of experiments and the score to expect."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

from kit.auto.auto import AutoPlan
from kit.auto.finish import AutoResult
from kit.auto.page import KINDS
from kit.errors import counted
from kit.pipeline.display import shows
from kit.report.notebook import Parts
from kit.report.tables import plain_table
from kit.runtime.deadline import duration


@shows(AutoResult)
def _auto(result: AutoResult) -> Parts:
    return [auto_table(result), *summary(result)]


@shows(AutoPlan)
def _plan(plan: AutoPlan) -> Parts:
    return plan_lines(plan)


def auto_table(result: AutoResult) -> Table:
    """Return the table of experiments and blends, the best first."""
    columns = (result.metric, "epochs", "time")
    table = plain_table("experiment", "trained", "network", *columns, right=columns)
    for each in result.scored:
        table.add_row(
            escape(each.name),
            KINDS[each.kind],
            escape(each.network),
            f"{each.cv:.4f}",
            str(each.epochs or ""),
            duration(each.seconds),
        )
    return table


def plan_lines(plan: AutoPlan) -> list[str]:
    """Return one line per network with its speed, then the first submission, then the plan."""
    first, missing = plan.first, ", ".join(plan.not_measured)
    return [
        *(f"{network}: {speed:.0f} images/s" for network, speed in plan.networks.items()),
        *([f"not tried, since measuring takes too much of the time: {missing}"] if missing else []),
        f"first submission: {first.candidate.model} at {first.size} px, about {duration(first.seconds)}",
        f"then: {plan.then}",
    ]


def summary(result: AutoResult) -> list[str]:
    """Return the score to expect first, then the optimistic one, then the file."""
    lines = [] if result.corrected is None else [result.corrected.text(result.metric)]
    chosen = f"chosen as the best of {counted(len(result.scored), 'score')}"
    tried = f" after {counted(result.trials, 'trial')}" if result.trials else ""
    lines.append(
        f"{result.competition}/{result.best.name}: out-of-fold {result.best.cv:.4f}, {chosen}{tried}"
    )
    if result.submission:
        lines.append(f"{result.submission}  checked, ready to submit")
    return lines

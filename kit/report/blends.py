"""Tables on blends for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from kit.ensemble.blended import Blended
from kit.ensemble.evaluate_blend import BlendEvaluation
from kit.evaluation.evaluate import Evaluation
from kit.report.tables import plain_table

MAX_PAIRS = 20


def blend_tables(blended: Blended, evaluation: Evaluation | None) -> list[Table | str]:
    """Return what a blend is worth, its members and how alike they are."""
    label, worth = blended.run.label, blended.evaluation
    if worth is None or evaluation is None:
        return [f"{label}: the mean of members from different folds. No score of it would be honest."]
    return [
        _scores(label, worth, evaluation),
        _members(worth),
        _pairs(worth),
        f"{label} {worth.verdict(label)}.",
    ]


def next_submission(blended: Blended, runs: Sequence[str]) -> str:
    """Return the line that names what to submit: the blend, or a member that scores as well alone.

    Args:
        runs: The labels of the members that kit can submit; other members are files of other tools.
    """
    best = (
        blended.run.label if blended.evaluation is None else blended.evaluation.to_submit(blended.run.label)
    )
    known = best in (blended.run.label, *runs)
    return f"\nNext: {'kit submit' if known else 'submit the file of'} {best}"


def _scores(label: str, worth: BlendEvaluation, evaluation: Evaluation) -> Table:
    better = "higher" if evaluation.higher_is_better else "lower"
    table = plain_table(
        "nested",
        "fitted",
        "best member",
        "difference",
        "95 % interval",
        title=f"{escape(label)}: {worth.metric} ({better} is better)",
    )
    table.add_row(
        f"[bold]{worth.nested:.4f}[/bold]",
        f"{worth.fitted:.4f}",
        f"{worth.best.score:.4f} {escape(worth.best.label)}",
        f"{worth.gain:+.4f}",
        worth.interval,
    )
    return table


def _members(worth: BlendEvaluation) -> Table:
    columns = ("alone", "weight", "dropping it costs")
    table = plain_table("member", *columns, right=columns)
    for member in worth.members:
        weight = "" if member.weight is None else f"{member.weight:.3f}"
        table.add_row(escape(member.label), f"{member.score:.4f}", weight, f"{member.cost_of_dropping:+.4f}")
    return table


def _pairs(worth: BlendEvaluation) -> Table:
    """Return the pairs of members, those that are least alike first."""
    columns = ("correlation", "decide otherwise")
    table = plain_table("member", "and", *columns, right=columns)
    for pair in sorted(worth.pairs, key=lambda pair: -pair.disagreement)[:MAX_PAIRS]:
        related = "constant" if pair.correlation is None else f"{pair.correlation:.3f}"
        table.add_row(escape(pair.a), escape(pair.b), related, f"{pair.disagreement:.1%}")
    hidden = len(worth.pairs) - MAX_PAIRS
    table.caption = f"and {hidden} pairs that are more alike" if hidden > 0 else None
    return table

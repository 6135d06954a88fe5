"""Terminal tables of blends."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

from kit.ensemble.blended import Blended
from kit.ensemble.evaluate_blend import BlendEvaluation, MemberPair
from kit.evaluation.evaluate import Evaluation
from kit.report.tables import plain_table

MAX_PAIRS = 20


def blend_tables(blended: Blended, evaluation: Evaluation | None) -> list[Table | str]:
    """Return the scores of a blend, its members, and how similar the members are."""
    label, blend = blended.run.label, blended.evaluation
    if blend is None or evaluation is None:
        return [f"{label}: the mean of members with different folds; no unbiased score can be computed."]
    return [
        _scores(label, blend, evaluation),
        _members(blend),
        _pairs(blend),
        f"{label} {blend.verdict(label)}.",
    ]


def next_submission(blended: Blended) -> str:
    """Return the label of what to submit: the blend, or a member that scores as well."""
    label = blended.run.label
    return label if blended.evaluation is None else blended.evaluation.to_submit(label)


def _scores(label: str, blend: BlendEvaluation, evaluation: Evaluation) -> Table:
    better = "higher" if evaluation.higher_is_better else "lower"
    numbers = ("nested", "fitted", "difference", "95 % interval")
    columns = (*numbers[:2], "best member", *numbers[2:])
    title = f"{escape(label)}: {blend.metric} ({better} is better)"
    table = plain_table(*columns, title=title, whole=numbers)
    table.add_row(
        f"[bold]{blend.nested:.4f}[/bold]",
        f"{blend.fitted:.4f}",
        f"{blend.best.score:.4f} {escape(blend.best.label)}",
        f"{blend.gain:+.4f}",
        blend.interval.text(signed=True),
    )
    return table


def _members(blend: BlendEvaluation) -> Table:
    columns = ("score", "weight", "loss without it")
    table = plain_table("member", *columns, right=columns)
    for member in blend.members:
        weight = "" if member.weight is None else f"{member.weight:.3f}"
        table.add_row(escape(member.label), f"{member.score:.4f}", weight, f"{member.cost_of_dropping:+.4f}")
    return table


def _similarity(pair: MemberPair) -> float:
    """Return a number that is larger for more similar members: by labels, or by correlation for numbers."""
    if pair.disagreement is not None:
        return -pair.disagreement
    return pair.correlation or 0.0


def _pairs(blend: BlendEvaluation) -> Table:
    """Return the pairs of members, the least similar first."""
    columns = ("correlation", "different labels")
    table = plain_table("member", "and", *columns, right=columns)
    for pair in sorted(blend.pairs, key=_similarity)[:MAX_PAIRS]:
        related = "constant" if pair.correlation is None else f"{pair.correlation:.3f}"
        different = "numbers" if pair.disagreement is None else f"{pair.disagreement:.1%}"
        table.add_row(escape(pair.a), escape(pair.b), related, different)
    hidden = len(blend.pairs) - MAX_PAIRS
    table.caption = f"and {hidden} more similar pairs" if hidden > 0 else None
    return table

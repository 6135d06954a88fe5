"""Compare the finished experiments of a sweep, best first, by paired intervals; correct the best score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from kit.auto.corrected import Corrected
from kit.auto.score import score_of_choice
from kit.errors import KitError
from kit.evaluation.nested_oof import NestedOof, nested_oof
from kit.metrics.bootstrap import Interval, plain_dict
from kit.postprocess.nested_cv import gain
from kit.storage.workspace import RunFolder, Workspace
from kit.sweep.record import Combination


@dataclass(frozen=True)
class Compared:
    """A finished combination beside the best one.

    Attributes:
        cv: The metric over all OOF rows, with nested postprocessing.
        gain: How much better it is than the best one, on the same rows: negative is worse, whatever the
            direction of the metric.
        interval: The paired 95 % bootstrap interval of the gain; None for the best one itself.
    """

    name: str
    values: dict[str, Any]
    cv: float
    gain: float
    interval: Interval | None
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self, dict_factory=plain_dict)


def compare(
    finished: Sequence[tuple[Combination, RunFolder]],
    workspace: Workspace,
    seed: int,
    pruned_on: int | None,
) -> tuple[list[Compared], Corrected | None]:
    """Return the finished combinations, best first, and the score to expect of the best one.

    Args:
        pruned_on: The fold that others were pruned on, if any: the score to expect leaves its rows out.

    Raises:
        KitError: Their predictions are not of the same images.
    """
    rows = [(each, nested_oof(run, workspace)) for each, run in finished]
    _check_same_rows(rows)
    scores = {each.name: oof.score() for each, oof in rows}
    sign = -1 if rows[0][1].labeled.metric.higher_is_better else 1
    rows.sort(key=lambda row: sign * scores[row[0].name])
    best = rows[0]
    compared = []
    for each, oof in rows:
        interval = None if each is best[0] else _gain(oof, best[1])
        difference = -sign * (scores[each.name] - scores[best[0].name])
        compared.append(
            Compared(each.name, each.values, scores[each.name], difference, interval, each.seconds)
        )
    return compared, score_of_choice([oof for _, oof in rows], seed, pruned_on)


def _gain(oof: NestedOof, best: NestedOof) -> Interval:
    labeled = best.labeled
    return gain(labeled.rows, oof.nested, best.nested, labeled.units)


def _check_same_rows(rows: Sequence[tuple[Combination, NestedOof]]) -> None:
    (first, first_oof), *others = rows
    for each, oof in others:
        if oof.labeled.oof.ids != first_oof.labeled.oof.ids:
            raise KitError(
                each.name,
                f"has predictions of other images than {first.name}",
                "Scores are compared on the same images: a swept image option may make images unreadable",
                "Leave that key out of the grid.",
                code="ids_differ",
            )

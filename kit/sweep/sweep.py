"""The verb ``sweep``: one experiment per combination of values, compared in one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from kit.auto.corrected import Corrected
from kit.auto.search import require_optuna
from kit.config.load import load_config
from kit.errors import KitError, counted
from kit.parallel.devices import Devices
from kit.parallel.parallel import kept_connection
from kit.pipeline.inputs import TimeLimit, WorkspaceLike, open_deadline, open_workspace
from kit.runtime.displayed import Displayed
from kit.runtime.progress import SILENT, Progress
from kit.storage.locks import exclusive_lock
from kit.sweep.compare import Compared, compare
from kit.sweep.draw import (
    Tried,
    Values,
    all_combinations,
    check_count,
    next_by_tpe,
    random_combinations,
    size_of,
)
from kit.sweep.experiments import FIRST_FOLD, Experiments, shown
from kit.sweep.record import Combination, Record
from kit.sweep.space import Axis, parse_space


@dataclass(frozen=True)
class SweepResult(Displayed):
    """The combinations of a sweep.

    Attributes:
        finished: Best first.
        unfinished: Those that were pruned or have failed, with the reason.
        corrected: The score to expect of the best one on new images; None if it cannot be computed.
        can_submit: Whether the competition has images to predict, and a submission format.
    """

    competition: str
    metric: str
    higher_is_better: bool
    keys: list[str]
    finished: list[Compared]
    unfinished: list[Combination]
    corrected: Corrected | None
    can_submit: bool

    @property
    def best(self) -> Compared:
        """The combination with the best score."""
        return self.finished[0]

    def as_dict(self) -> dict[str, Any]:
        """Return the result as ``--json`` prints it."""
        return asdict(self) | {
            "finished": [each.as_dict() for each in self.finished],
            "corrected": self.corrected and self.corrected.as_dict(),
            "best": self.best.name,
        }


def sweep(
    config: Path | str,
    *,
    grid: Sequence[str],
    random: int | None = None,
    tpe: int | None = None,
    prune: bool = False,
    time_limit: TimeLimit = None,
    overrides: Sequence[str] = (),
    devices: Devices = None,
    workspace: WorkspaceLike = None,
    progress: Progress = SILENT,
) -> SweepResult:
    """Train and predict one experiment per combination of values, ``NAME-s01`` and so on; compare them.

    The same call skips finished combinations and resumes an interrupted one; more values add combinations.

    Args:
        grid: ``KEY=V1,V2`` each; with ``random`` or ``tpe`` also ``KEY=LOW..HIGH``.
        random: Draw this many combinations instead of all.
        tpe: Choose combinations by Optuna's TPE, from the scores of earlier ones, until there are this many.
        prune: Stop a combination whose first fold is worse than the median of the finished ones.
        devices: What trains folds at the same time, as for ``train``.

    Raises:
        KitError: The grid, or the config of a combination, is wrong; nothing is trained then.
        Interrupted: The time limit is reached; the same call resumes.
    """
    space = parse_space(grid)
    _check_options(space, random, tpe)
    workspace, deadline, path = open_workspace(workspace), open_deadline(time_limit), Path(config)
    base = load_config(path, overrides, progress)
    competition = base.competition.name
    lock = exclusive_lock(workspace.sweep_lock(competition, base.name), f"the sweep {base.name}")
    with lock, kept_connection(devices):
        record = Record.open(workspace, competition, base.name)
        experiments = Experiments(
            path, list(overrides), base, record, workspace, deadline, prune, devices, progress
        )
        if tpe is not None:
            swept = _by_tpe(experiments, space, tpe)
        else:
            swept = _as_planned(experiments, space, random)
        return _result(experiments, space, swept)


def _check_options(space: Sequence[Axis], random: int | None, tpe: int | None) -> None:
    """Check that the options suit each other.

    Raises:
        KitError: They do not.
    """
    if random is not None and tpe is not None:
        raise KitError("--random", "and --tpe exclude each other", next="Omit one.", code="random_and_tpe")
    drawn = random if random is not None else tpe
    if drawn is not None:
        check_count(drawn, "--tpe" if random is None else "--random")
        if tpe is not None:
            require_optuna("kit sweep --tpe")
        return
    for axis in space:
        if axis.is_range:
            raise KitError(
                f"--grid {axis.key}",
                "is a range, which has no list of values",
                "Numbers of a range are drawn",
                "Add `--random 30` or `--tpe 30`.",
                code="range_needs_draws",
            )
    check_count(size_of(space), "--grid")


def _as_planned(experiments: Experiments, space: Sequence[Axis], random: int | None) -> list[Combination]:
    """Complete all combinations, or random ones, and return them in order."""
    if random is None:
        chosen = all_combinations(space)
    else:
        chosen = random_combinations(space, random, experiments.base.seed)
    record = experiments.record
    swept = [record.find(values) or record.add(values, experiments.workspace) for values in chosen]
    experiments.check([(each.name, each.values) for each in swept])
    record.write()
    _complete_all(experiments, sorted(swept, key=_rank), len(swept))
    return swept


def _rank(each: Combination) -> int:
    """Return when a combination is visited: finished and begun ones first, failed ones last."""
    if each.state == "failed":
        return 3
    return 0 if each.state == "finished" else 1 if each.seconds else 2


def _by_tpe(experiments: Experiments, space: Sequence[Axis], count: int) -> list[Combination]:
    """Complete combinations until there are ``count`` of the space, earlier ones included; return them."""
    base, record = experiments.base, experiments.record
    experiments.check([(f"{base.name}-s", values) for values in _one_by_one(space)])
    swept = [each for each in record.combinations if _is_in(space, each.values)][:count]
    _complete_all(experiments, sorted(swept, key=_rank), count)
    while len(swept) < count:
        added: list[Combination] = []
        for _ in range(min(experiments.num_together, count - len(swept))):
            known = [each.values for each in (*swept, *added)]
            values = next_by_tpe(space, _tried(swept), known, experiments.metric.higher_is_better, base.seed)
            if values is not None:
                added.append(record.add(values, experiments.workspace))
        if not added:
            experiments.progress.note(f"the space has no more than {counted(len(swept), 'combination')}")
            break
        record.write()
        _complete_all(experiments, added, count, len(swept))
        swept += added
    return swept


def _one_by_one(space: Sequence[Axis]) -> list[Values]:
    """Return combinations that together have every option and every end of a range."""
    first = {axis.key: axis.examples[0] for axis in space}
    others = [{**first, axis.key: value} for axis in space for value in axis.examples[1:]]
    return [first, *others]


def _is_in(space: Sequence[Axis], values: Mapping[str, Any]) -> bool:
    return set(values) == {axis.key for axis in space} and all(
        axis.contains(values[axis.key]) for axis in space
    )


def _tried(swept: Sequence[Combination]) -> list[Tried]:
    """Return the scores that combinations have: those of all folds, or of the first fold if pruned."""
    scores = [(each, each.fold_score if each.state == "pruned" else each.cv) for each in swept]
    return [
        Tried(each.values, score, each.state == "pruned")
        for each, score in scores
        if score is not None and isfinite(score) and each.state in ("finished", "pruned")
    ]


def _complete_all(experiments: Experiments, those: Sequence[Combination], total: int, done: int = 0) -> None:
    """Complete combinations, at the same time on a cluster, and report what becomes of each.

    Args:
        total: Of the sweep.
        done: How many are complete already.
    """
    together = experiments.num_together
    if together > 1 and not experiments.prune:
        together = max(1, len(those))  # they need not wait for each other
    for start in range(0, len(those), together):
        batch = those[start : start + together]
        for number, each in enumerate(batch, done + start + 1):
            experiments.progress.stage(each.name, f"({number} of {total})  {shown(each.values)}")
        experiments.complete(batch, lambda each: _report(experiments, each))


def _report(experiments: Experiments, each: Combination) -> None:
    progress = experiments.progress
    if each.state == "finished":
        progress.note(f"{each.name}: out-of-fold {experiments.metric.name} {each.cv:.4f}")
    elif each.state == "failed":
        progress.warn(f"{each.name} failed: {each.why}")
    else:
        progress.note(f"{each.name}: {each.state}, {each.why}")


def _result(experiments: Experiments, space: Sequence[Axis], swept: Sequence[Combination]) -> SweepResult:
    base, workspace = experiments.base, experiments.workspace
    finished = [(each, experiments.run(each.name)) for each in swept if each.state == "finished"]
    unfinished = [each for each in swept if each.state != "finished"]
    if not finished:
        raise KitError(
            experiments.path,
            f"no combination could be trained: {unfinished[0].why}",
            "A table needs one score",
            f"Train one alone to see more: `kit train {experiments.path} --set …`.",
            code="sweep_without_score",
        )
    _note_others(experiments, swept)
    was_pruned = any(each.state == "pruned" for each in unfinished)
    compared, corrected = compare(finished, workspace, base.seed, FIRST_FOLD if was_pruned else None)
    best = workspace.run(base.competition.name, compared[0].name)
    return SweepResult(
        competition=base.competition.name,
        metric=experiments.metric.name,
        higher_is_better=experiments.metric.higher_is_better,
        keys=[axis.key for axis in space],
        finished=compared,
        unfinished=unfinished,
        corrected=corrected,
        can_submit=base.submission is not None and best.test.exists(),
    )


def _note_others(experiments: Experiments, swept: Sequence[Combination]) -> None:
    """Report combinations of earlier grids, which the table leaves out."""
    names = {each.name for each in swept}
    others = [
        each
        for each in experiments.record.combinations
        if each.state == "finished" and each.name not in names
    ]
    if others:
        have = counted(len(others), "finished combination is", "finished combinations are")
        experiments.progress.note(f"{have} not in this grid; `kit leaderboard` lists all")

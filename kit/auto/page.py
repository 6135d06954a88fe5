"""The HTML page of ``kit auto``: score over time, trials, what mattered, and what was not tried."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kit.auto.corrected import Corrected
from kit.auto.journal import Point, Scored, Trial
from kit.auto.search import NETWORK, Importance, importances
from kit.auto.session import Session
from kit.report.pages import render
from kit.report.plots import PALETTE, panels, plot
from kit.storage.files import write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLORS = {"head": PALETTE[0], "whole": PALETTE[5], "blend": PALETTE[2]}
GRAY = "#888888"
KINDS = {"head": "head only", "whole": "whole network", "blend": "blend"}


def write_auto_page(
    path: Path, session: Session, scored: Sequence[Scored], corrected: Corrected | None
) -> None:
    """Write the page.

    Args:
        scored: Experiments and blends, best first.
        corrected: The score to expect; None if it cannot be computed.
    """
    journal, metric = session.journal, session.data.competition.metric
    higher = metric.higher_is_better
    done = [trial for trial in journal.trials if trial.score is not None]
    important = importances(journal.trials, session.choices, higher)
    page = render(
        "auto.html",
        competition=session.data.competition.name,
        metric=metric.name,
        kinds=KINDS,
        journal=journal,
        scored=scored,
        corrected=corrected,
        over_time=_score_over_time(journal.history, metric.name, higher),
        coordinates=_parallel_coordinates(done, metric.name, higher) if len(done) > 1 else None,
        importances=_importance_bars(important) if important else None,
    )
    write_text(path, page)


@plot
def _score_over_time(history: Sequence[Point], metric: str, higher_is_better: bool) -> tuple[Figure, str]:
    """Return the scores by minute, and the best so far as steps."""
    figure, panel = panels(9, 3)
    minutes, scores = [each.at / 60 for each in history], [each.cv for each in history]
    best = np.maximum.accumulate(scores) if higher_is_better else np.minimum.accumulate(scores)
    panel.step(minutes, best, where="post", color=GRAY, linewidth=1)
    for kind, color in COLORS.items():
        points = [(each.at / 60, each.cv) for each in history if each.kind == kind]
        if points:
            panel.scatter(*zip(*points, strict=True), s=22, color=color, label=KINDS[kind], zorder=3)
    panel.set_xlabel("minutes", fontsize=9)
    panel.set_ylabel(f"out-of-fold {metric}", fontsize=9)
    panel.legend(fontsize=8)
    panel.grid(alpha=0.3)
    return figure, "Scores of experiments and blends by minute, and the best so far"


@plot
def _parallel_coordinates(trials: Sequence[Trial], metric: str, higher_is_better: bool) -> tuple[Figure, str]:
    """Return one line per trial through its choices and its score, as SVG; good trials are dark."""
    names = [NETWORK, *(name for name in trials[0].params if name != NETWORK)]
    scores = np.array([trial.score for trial in trials], dtype=float)
    ranks = (scores if higher_is_better else -scores).argsort().argsort() / max(1, len(trials) - 1)
    columns = [_scaled([trial.params[name] for trial in trials]) for name in names]
    columns.append(_scaled(list(scores)))
    figure, panel = panels(9, 3.5)
    for row, rank in enumerate(ranks):
        line = [positions[row] for positions, _ in columns]
        color = COLORS["whole"] if rank > 0.75 else GRAY
        panel.plot(line, color=color, alpha=0.25 + 0.7 * rank, linewidth=1.3)
    for x, (_, labels) in enumerate(columns):
        panel.axvline(x, color=GRAY, linewidth=0.6)
        for y, text in labels.items():
            panel.annotate(text, (x, y), fontsize=6.5, xytext=(2, 2), textcoords="offset points")
    panel.set_xticks(range(len(columns)), [*names, metric], fontsize=8)
    panel.set_yticks([])
    panel.spines[:].set_visible(False)
    return figure, "Choices and score of each trial, as one line"


def _scaled(values: Sequence[Any]) -> tuple[list[float], dict[float, str]]:
    """Return positions 0..1 of values, and position -> label; numbers above 0 are on a logarithmic scale."""
    distinct = sorted(set(values), key=lambda value: (isinstance(value, str), value))
    is_range = len(distinct) > 4 and all(isinstance(value, float) for value in distinct)
    if not is_range:
        position = {value: i / max(1, len(distinct) - 1) for i, value in enumerate(distinct)}
        return [position[value] for value in values], {y: _text(value) for value, y in position.items()}
    numbers = np.log(values) if min(distinct) > 0 else np.asarray(values)
    low, high = float(np.min(numbers)), float(np.max(numbers))
    labels = {0.0: _text(distinct[0]), 1.0: _text(distinct[-1])}
    return list((numbers - low) / max(high - low, 1e-12)), labels


def _text(value: object) -> str:
    return f"{value:.2g}" if isinstance(value, float) else str(value)


@plot
def _importance_bars(found: Sequence[Importance]) -> tuple[Figure, str]:
    """Return the share of the variation that each choice explains, with intervals, as SVG."""
    figure, panel = panels(7, 0.5 + 0.3 * len(found))
    shares = np.array([each.share for each in found])
    errors = np.array([[each.share - each.low, each.high - each.share] for each in found]).T
    panel.barh(range(len(found)), shares, color=COLORS["head"], xerr=np.maximum(errors, 0.0), ecolor=GRAY)
    panel.set_yticks(range(len(found)), [each.name for each in found], fontsize=8)
    panel.invert_yaxis()
    panel.set_xlabel("share of the variation between trials, 90 % interval", fontsize=8)
    return figure, "Share of the variation between trials that each choice explains"

"""The leaderboard of a competition as an HTML page: CV against leaderboard scores, and the table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from markupsafe import Markup

from kit.leaderboard.correlation import Correlation
from kit.leaderboard.entries import Entry
from kit.leaderboard.line import fitted_line
from kit.leaderboard.scores import BOARDS
from kit.leaderboard.selection import Selection
from kit.report import plots
from kit.report.leaderboard import leaderboard_tables
from kit.report.notebook import html_of_parts
from kit.report.pages import render
from kit.storage.files import write_text


def write_leaderboard_page(
    path: Path, entries: Sequence[Entry], related: Sequence[Correlation], chosen: Sequence[Selection]
) -> None:
    """Write the page of a competition.

    Args:
        entries: Its rows, in order.
        related: Correlations of CV and leaderboard.
        chosen: Which submissions to select.
    """
    pictures = cv_against_boards(entries, chosen)
    tables = Markup(html_of_parts(leaderboard_tables(entries, related, chosen)))
    competition = entries[0].competition
    write_text(path, render("leaderboard.html", competition=competition, pictures=pictures, tables=tables))


def cv_against_boards(entries: Sequence[Entry], chosen: Sequence[Selection]) -> list[Markup]:
    """Return a plot of CV against leaderboard for each competition, metric and board with scores."""
    picks = {pick.experiment for each in chosen for pick in (each.first, each.second)}
    drawn = []
    for kind in dict.fromkeys((each.competition, each.metric) for each in entries):
        rows = [each for each in entries if (each.competition, each.metric) == kind]
        drawn += [_cv_against(board, rows, picks) for board in BOARDS]
    return [picture for picture in drawn if picture is not None]


def _cv_against(board: str, entries: Sequence[Entry], picks: set[str]) -> Markup | None:
    """Return the scores of a board over CV, of one metric; None if no submission has both."""
    rows = [
        (each.name, each.cv, score, each.label in picks)
        for each in entries
        if each.cv is not None and (score := getattr(each, board)) is not None
    ]
    if not rows:
        return None
    points = pd.DataFrame(rows, columns=["name", "cv", "score", "selected"])
    line = fitted_line(np.asarray(points["cv"]), np.asarray(points["score"]))
    return plots.cv_against_leaderboard(points, line, board)

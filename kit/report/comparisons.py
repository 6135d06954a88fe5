"""Show runs side by side: tables of the terminal, and the page with the images that they disagree about."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from kit.competition.images.decode import DecodeOptions
from kit.errors import counted
from kit.evaluation.compare import ComparedRun, Comparison
from kit.report.pages import render, thumbnail
from kit.report.tables import plain_table
from kit.storage.files import write_text

MOST_CLASSES = 20  # in the terminal: those whose F1 differs most


def comparison_tables(comparison: Comparison) -> list[Table | str]:
    """Return the scores with paired differences, the classes that differ most, and the configs."""
    better = "higher" if comparison.higher_is_better else "lower"
    title = f"{comparison.metric} ({better} is better) on {counted(comparison.rows, 'image')}"
    columns = ("run", "score", "against the best", "95 % interval", "correlation", "min")
    table = plain_table(*columns, title=title, right=columns[1:])
    for each in comparison.runs:
        minutes = "" if each.minutes is None else f"{each.minutes:.1f}"
        table.add_row(escape(each.label), f"{each.cv:.4f}", *_against(each), minutes)
    parts: list[Table | str] = [table]
    classes = differing_classes(comparison)[:MOST_CLASSES]
    if classes:
        names = [each.label.split("/")[-1] for each in comparison.runs]
        by_class = plain_table("class", *names, title="F1 of the classes that differ most", right=names)
        for name in classes:
            by_class.add_row(escape(name), *(f"{each.class_f1[name]:.3f}" for each in comparison.runs))
        parts.append(by_class)
    for each in comparison.runs[1:]:
        if each.changed:
            parts.append(f"{each.label} against {comparison.runs[0].label}: {'; '.join(each.changed)}")
    parts.append(f"{counted(len(comparison.disagreements), 'image')} that one gets right and another wrong")
    return parts


def _against(each: ComparedRun) -> tuple[str, str, str]:
    if each.interval is None:
        return "", "", ""
    return f"{each.gain:+.4f}", each.interval.text(signed=True), f"{each.correlation:.3f}"


def differing_classes(comparison: Comparison) -> list[str]:
    """Return the classes whose F1 differs between runs, sorted by the difference, largest first."""
    spread = {
        name: max(each.class_f1[name] for each in comparison.runs)
        - min(each.class_f1[name] for each in comparison.runs)
        for name in comparison.runs[0].class_f1
    }
    return sorted((name for name in spread if spread[name] > 0), key=lambda name: -spread[name])


def write_comparison_page(
    comparison: Comparison, path: Path, root: Path | None, paths: Mapping[str, str], options: DecodeOptions
) -> None:
    """Write the page.

    Args:
        root: The competition's folder; None: without pictures.
        paths: Id -> path of an image below it.
        options: How images are decoded.
    """
    pictures = {
        each.id: None if root is None else thumbnail(root, paths.get(each.id), options)
        for each in comparison.disagreements
    }
    classes = differing_classes(comparison)
    write_text(path, render("compare.html", comparison=comparison, pictures=pictures, classes=classes))

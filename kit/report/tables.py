"""Terminal tables of the audit, the folds, the dry run and others, and the base of all tables."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from rich.markup import escape
from rich.table import Table

from kit.competition.audit import Audit
from kit.competition.layouts.base import Finding
from kit.config import FoldsConfig
from kit.errors import counted, first_few, one_line
from kit.evaluation.per_image import PerImage
from kit.folds.balance_report import FoldBalance, side_name
from kit.report.fit import FittedTable
from kit.training.dry_run import DryRun

MAX_ROWS = 20
MAX_PAIRS = 10
MAX_NAME = 60  # characters of a class name


def name_cell(name: str) -> str:
    """Return the name of a class as a cell."""
    return escape(one_line(name, MAX_NAME))


def plain_table(
    *columns: str,
    title: str | None = None,
    right: Sequence[str] = (),
    whole: Sequence[str] = (),
    optional: Sequence[str] = (),
) -> Table:
    """Return a table without borders, as wide as the terminal at most.

    Args:
        right: Columns of numbers: right-aligned, never wrapped.
        whole: Other columns that never wrap.
        optional: Columns that a narrow terminal does not show, the least important first.
    """
    table = FittedTable(title, whole, optional)
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left", overflow="fold")
    return table


def findings_table(findings: Sequence[Finding]) -> Table:
    """Return the inferred config values with the evidence for each."""
    table = plain_table("key", "value", "because")
    for finding in findings:
        value = ", ".join(map(str, finding.value)) if isinstance(finding.value, list) else str(finding.value)
        table.add_row(
            finding.key, escape(value if len(value) <= 60 else value[:57] + "..."), escape(finding.because)
        )
    return table


def audit_tables(audit: Audit, fold_count: int) -> list[Table]:
    """Return tables of counts, duplicates, co-occurring classes and unreadable images."""
    tables = [_facts(audit, fold_count), _duplicates(audit)]
    if audit.co_occurrence:
        tables.append(_co_occurrence(audit.co_occurrence))
    if audit.unreadable:
        broken = plain_table("unreadable", "why")
        for path, why in list(audit.unreadable.items())[:MAX_ROWS]:
            broken.add_row(escape(path), escape(why))
        tables.append(broken)
    return tables


def _facts(audit: Audit, fold_count: int) -> Table:
    facts = plain_table("images", "", title=f"Audit of {escape(audit.competition)}")
    facts.add_row("train / test", f"{audit.train} / {audit.test}")
    for name, count in audit.held_out.items():
        facts.add_row(f"held out: {escape(name)}", str(count))
    if audit.unlabelled:
        facts.add_row("without a label", str(audit.unlabelled))
    for name, text in _labels(audit, fold_count):
        facts.add_row(name, text)
    shapes = (("sizes", audit.sizes), ("shapes", audit.aspects), ("modes", audit.modes))
    for name, values in (*shapes, ("formats", audit.formats)):
        facts.add_row(name, _shares(values))
    for stored, how in audit.deep.items():
        facts.add_row(f"deep: {stored}", escape(how))
    for name, paths in (("nearly flat", audit.nearly_flat), ("several frames", audit.several_frames)):
        if paths:
            used = f"; {audit.frame} is used (image.frame)" if paths is audit.several_frames else ""
            facts.add_row(
                name, f"[yellow]{counted(len(paths), 'image')}[/yellow] ({escape(first_few(paths))}){used}"
            )
    names = " ".join(audit.channel_names)
    facts.add_row("mean, std", f"{_channels(audit.mean)}, {_channels(audit.std)} of {names}, 0 to 1")
    cut = f", {audit.truncated} of them truncated" if audit.truncated else ""
    facts.add_row("unreadable", f"[red]{len(audit.unreadable)}{cut}[/red]" if audit.unreadable else "none")
    if audit.against_test is not None:
        compared = audit.against_test
        facts.add_row("train against test", f"{compared.summary} AUC {compared.auc:.2f}")
    return facts


def _labels(audit: Audit, fold_count: int) -> list[tuple[str, str]]:
    """Return rows about the classes, or about the numbers that are the labels."""
    if audit.numbers is not None:
        n = audit.numbers
        spread = f"median {n.median:g}, mean {n.mean:g}, standard deviation {n.std:g}"
        return [("numbers", f"{n.distinct} different, from {n.low:g} to {n.high:g}"), ("", spread)]
    counts = pd.Series(audit.class_counts)
    if counts.min() < fold_count:
        verdict = f"[yellow]fewer than the {counted(fold_count, 'fold')}[/yellow]"
    else:
        verdict = f"enough for {counted(fold_count, 'fold')}" if fold_count else ""
    rows = [
        ("classes", f"{len(counts)}, from {counts.min()} to {counted(counts.max(), 'image')}"),
        ("smallest class", f"{name_cell(str(counts.idxmin()))}: {counted(counts.min(), 'image')}, {verdict}"),
    ]
    return [*rows, *_distributions(audit)]


def _distributions(audit: Audit) -> list[tuple[str, str]]:
    """Return rows about distributions; the class counts take the class with the largest share."""
    if (found := audit.distributions) is None:
        return []
    tied = f"; {found.tied} have equal largest shares: the first is their class" if found.tied else ""
    shares = [f"{name_cell(name)} {share:.3f}" for name, share in found.shares.items()]
    return [
        (
            "distributions",
            f"{counted(found.several, 'image has', 'images have')} shares of several classes{tied}",
        ),
        ("mean shares", first_few(shares, limit=10)),
    ]


def _channels(values: Sequence[float]) -> str:
    return " ".join(f"{value:.3f}" for value in values)


def _duplicates(audit: Audit) -> Table:
    table = plain_table("duplicates", "identical", "first", "near", "first", right=("identical", "near"))
    near = audit.near_duplicates.titled()
    for title, groups in audit.exact_duplicates.titled().items():
        row = [cell for found in (groups, near[title]) for cell in (str(len(found)), _first_group(found))]
        table.add_row(title, *row)
    return table


def _first_group(groups: Sequence[Sequence[str]]) -> str:
    if not groups:
        return ""
    text = " = ".join(groups[0][:2]) + (f" and {len(groups[0]) - 2} more" if len(groups[0]) > 2 else "")
    return escape(text)


def _co_occurrence(together: dict[str, dict[str, int]]) -> Table:
    """Return the pairs of classes that occur together most often."""
    names = list(together)
    pairs = [(together[a][b], a, b) for i, a in enumerate(names) for b in names[i + 1 :] if together[a][b]]
    table = plain_table("most frequent pairs of classes", "", "images", right=("images",))
    for count, a, b in sorted(pairs, key=lambda pair: -pair[0])[:MAX_PAIRS]:
        table.add_row(name_cell(a), name_cell(b), str(count))
    return table


def _shares(values: dict[str, int], limit: int = 4) -> str:
    text = ", ".join(f"{escape(name)} ({count})" for name, count in list(values.items())[:limit])
    return text + (f" and {len(values) - limit} more" if len(values) > limit else "")


def balance_table(balance: FoldBalance) -> Table:
    """Return images per class (or range of numbers) and fold; with many classes, the range over classes."""
    counts = balance.counts
    names = [side_name(int(side)) for side in counts.columns]
    table = plain_table(balance.rows, *names, "total", right=[*names, "total"], optional=names[::-1])
    if len(counts) <= MAX_ROWS:
        for name, row in counts.iterrows():
            table.add_row(name_cell(str(name)), *(str(int(n)) for n in row), str(int(row.sum())))
    else:
        ranges = (f"{counts[k].min()}..{counts[k].max()}" for k in counts.columns)
        totals = counts.sum(axis=1)
        table.add_row(f"each of {len(counts)}", *ranges, f"{totals.min()}..{totals.max()}")
    for title, numbers in (("images", balance.images), ("groups", balance.groups)):
        if numbers is not None:
            per_side = [int(numbers.get(k, 0)) for k in counts.columns]
            table.add_row(title, *map(str, per_side), str(sum(per_side)), style="bold")
    return table


def per_image_table(pooled: Sequence[PerImage]) -> Table:
    """Return the scores of crop predictions pooled per image."""
    names = list(pooled[0].scores)
    table = plain_table("per image", "images", *names, right=("images", *names))
    for each in pooled:
        scores = ("undefined" if score is None else f"{score:.4f}" for score in each.scores.values())
        table.add_row(escape(each.name), str(each.images), *scores)
    return table


def scores_table(rows: Sequence[tuple[str, float, float]], metric: str) -> Table:
    """Return name, CV and held-out score, one row per run."""
    table = plain_table(
        "", f"CV {metric}", f"held-out {metric}", right=(f"CV {metric}", f"held-out {metric}")
    )
    for name, cv, held_out in rows:
        table.add_row(escape(name), f"{cv:.4f}", f"{held_out:.4f}")
    return table


def dry_run_tables(plan: DryRun) -> list[Table | str]:
    """Return the training plan: facts, parameter groups, learning rates, augmentation."""
    facts = plain_table("", "", title=f"{plan.experiment}: dry run, nothing is trained")
    facts.show_header = False
    for name, text in plan.facts.items():
        facts.add_row(name, escape(text))
    columns = ("parameters of", "tensors", "parameters", "peak lr", "weight decay")
    groups = plain_table(*columns, right=columns[1:])
    for group in plan.groups:
        rate = f"{group.lr:.3g}" if group.lr else "-"
        groups.add_row(
            group.part, str(group.tensors), f"{group.parameters:,}", rate, f"{group.weight_decay:g}"
        )
    rates = plain_table("learning rate", "", right=("",))
    for name, value in plan.rates.items():
        rates.add_row(name, f"{value:.3g}")
    steps = plain_table("augmentation steps")
    for step in plan.augmentation:
        steps.add_row(escape(step))
    return [facts, groups, rates, steps]


def near_duplicates_hint(audit: Audit, folds: FoldsConfig) -> list[str]:
    """Return a hint to keep near duplicates in one fold, if there are any and the config does not."""
    near = audit.near_duplicates
    if folds.keep_duplicates_together == "near" or not (near.within_class or near.across_classes):
        return []
    return [
        "\nNear duplicates in different folds inflate the validation score. To keep them in one fold: "
        "--set folds.keep_duplicates_together=near, or the same key in the config."
    ]


def components_table(kind: str, entries: dict[str, str]) -> Table:
    """Return the entries of one kind that a config can name."""
    table = plain_table(kind, "")
    for name, description in entries.items():
        table.add_row(name, escape(description))
    return table

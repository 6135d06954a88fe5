"""Terminal tables of the scores of a run."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

from kit.errors import counted
from kit.evaluation.classes import ClassScore
from kit.evaluation.evaluate import Evaluation
from kit.evaluation.taught import Taught
from kit.report.tables import MAX_ROWS, name_cell, plain_table

MAX_IMAGES = 10


def evaluation_tables(evaluation: Evaluation) -> list[Table | str]:
    """Return the scores, the steps, the worst classes or the errors by range, and the images to review."""
    tables: list[Table | str] = [_scores(evaluation)]
    if evaluation.held_out:
        tables.append(_held_out(evaluation))
    if evaluation.taught is not None:
        tables += _taught(evaluation.taught, evaluation.metric)
    tables += evaluation.remarks
    tables += [f"{where}: {why}" for where, why in evaluation.not_computed.items()]
    if evaluation.decisions:
        tables.append(_decisions(evaluation))
    tables.append(_others(evaluation))
    tables.append(_residuals(evaluation) if evaluation.residuals else _classes(evaluation.classes))
    if evaluation.confused:
        tables.append(_confused(evaluation))
    tables.append(_hardest(evaluation))
    if evaluation.suspects:
        tables.append(_suspects(evaluation))
    return tables


def score_text(score: float | None) -> str:
    """Return a score with four decimals, or a dash if there is none."""
    return "-" if score is None else f"{score:.4f}"


def _scores(evaluation: Evaluation) -> Table:
    better = "higher" if evaluation.higher_is_better else "lower"
    title = f"{escape(evaluation.experiment)}: {evaluation.metric} ({better} is better)"
    folds = [f"fold {k}" for k in range(len(evaluation.folds))]
    columns = ("out-of-fold", "95 % interval", *folds, "mean ± sd")
    table = plain_table(*columns, title=title, whole=columns, optional=folds[::-1])
    table.add_row(
        f"[bold]{evaluation.cv:.4f}[/bold]",
        evaluation.interval.text(),
        *map(score_text, evaluation.folds),
        evaluation.spread,
    )
    return table


def _held_out(evaluation: Evaluation) -> Table:
    table = plain_table("held out", evaluation.metric, right=(evaluation.metric,))
    for name, score in evaluation.held_out.items():
        table.add_row(escape(name), f"[bold]{score_text(score)}[/bold]")
    return table


def _taught(taught: Taught, metric: str) -> list[Table | str]:
    """Return the pseudo-labels by class, the changed labels, and the student beside its teachers."""
    tables: list[Table | str] = []
    if taught.classes:
        columns = ("added per fold", "validated", "right")
        table = plain_table("pseudo-labels", *columns, right=columns)
        for each in sorted(taught.classes, key=lambda each: -each.added)[:MAX_ROWS]:
            right = f"{each.right / each.checked:.0%}" if each.checked else "-"
            table.add_row(name_cell(each.name), f"{each.added:.1f}", str(each.checked), right)
        table.caption = "validated: validation images to which the same rule gives the class"
        tables.append(table)
    if taught.relabeled:
        tables.append(
            f"labels corrected in training, by fold: {_list(taught.relabeled)}; "
            f"images dropped: {_list(taught.dropped)} (fold-K/label-changes.csv)"
        )
    if taught.models:
        columns = (metric, "MB", "images/s")
        table = plain_table("role", "experiment", *columns, right=columns)
        for model in taught.models:
            speed = "-" if model.images_per_second is None else f"{model.images_per_second:.0f}"
            table.add_row(
                model.role, escape(model.label), score_text(model.cv), f"{model.megabytes:.1f}", speed
            )
        tables.append(table)
    return tables


def _list(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))


def _decisions(evaluation: Evaluation) -> Table:
    numbers = ("nested", "fitted", "gain", "95 % interval")
    table = plain_table(
        "postprocessing", *numbers, "", "fitted values", whole=numbers, optional=numbers[:0:-1]
    )
    table.add_row("none", f"{evaluation.plain:.4f}", "", "", "", "", "")
    for steps in evaluation.decisions:
        table.add_row(
            steps.name,
            f"{steps.score:.4f}",
            f"{steps.fitted:.4f}",
            f"{steps.gain:+.4f}",
            steps.interval.text(signed=True),
            steps.verdict,
            escape("; ".join(steps.told)),
        )
    return table


def _others(evaluation: Evaluation) -> Table:
    table = plain_table("other metrics", "", "", right=("",))
    table.show_header = False
    for other in evaluation.others:
        note = (
            escape(other.why)
            if other.score is None
            else ("" if other.higher_is_better else "lower is better")
        )
        table.add_row(other.metric, score_text(other.score), note)
    return table


def _classes(classes: list[ClassScore]) -> Table:
    columns = ("precision", "recall", "F1", "ROC AUC", "AP", "images")
    table = plain_table("class", *columns, right=columns)
    for c in sorted(classes, key=lambda c: c.f1)[:MAX_ROWS]:
        shares = (f"{value:.3f}" for value in (c.precision, c.recall, c.f1))
        areas = ("-" if area is None else f"{area:.3f}" for area in (c.roc_auc, c.average_precision))
        table.add_row(name_cell(c.name), *shares, *areas, str(c.support))
    hidden = len(classes) - MAX_ROWS
    table.caption = f"and {counted(hidden, 'class', 'classes')} with a higher F1" if hidden > 0 else None
    return table


def _residuals(evaluation: Evaluation) -> Table:
    columns = ("mean error", "mean absolute error", "images")
    table = plain_table("true number", *columns, right=columns)
    for r in evaluation.residuals:
        table.add_row(f"{r.low:g} to {r.high:g}", f"{r.bias:+.4g}", f"{r.mae:.4g}", str(r.images))
    table.caption = "an error is the predicted minus the true number"
    return table


def _confused(evaluation: Evaluation) -> Table:
    table = plain_table("true", "predicted", "images", right=("images",))
    for pair in evaluation.confused:
        table.add_row(name_cell(pair.true), name_cell(pair.predicted), str(pair.count))
    return table


def _hardest(evaluation: Evaluation) -> Table:
    table = plain_table(
        f"highest {evaluation.loss}", "label", "predicted", evaluation.loss, right=(evaluation.loss,)
    )
    form = ".4g" if evaluation.residuals else ".2f"  # numbers have any size
    for image in evaluation.hardest[:MAX_IMAGES]:
        table.add_row(
            escape(image.path or image.id),
            name_cell(image.label),
            name_cell(image.decided),
            f"{image.loss:{form}}",
        )
    return table


def _suspects(evaluation: Evaluation) -> Table:
    table = plain_table("likely label error", "label", "suggested", "margin", "reason", right=("margin",))
    for suspect in evaluation.suspects[:MAX_IMAGES]:
        reason = f"byte-identical to {suspect.twin}" if suspect.twin else "out-of-fold prediction"
        table.add_row(
            escape(suspect.path or suspect.id),
            name_cell(suspect.label),
            name_cell(suspect.suggested),
            f"{suspect.margin:.2f}",
            escape(reason),
        )
    hidden = evaluation.num_suspects - MAX_IMAGES
    table.caption = f"and {hidden} more, in suspects.csv" if hidden > 0 else None
    return table

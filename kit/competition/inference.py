"""What a competition folder is about, inferred from its files, each conclusion with its evidence."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pandas as pd

from kit.competition.files import IdStyle, natural_key
from kit.competition.recognise import Finding, Labelled, Recognised, recognise
from kit.competition.survey import Survey, Table, is_called, survey_folder
from kit.errors import KitError, first_few
from kit.metrics import metrics
from kit.tasks import tasks

LIKELY_METRICS = {  # by what is handed in; the first is proposed
    "label": ("accuracy", "balanced_accuracy", "f1_macro"),
    "probabilities": ("log_loss", "roc_auc", "accuracy"),
    "score": ("roc_auc", "log_loss"),
    "": ("accuracy", "balanced_accuracy", "f1_macro"),
}
LIKELY_FOR_TASK = {
    "multilabel": ("roc_auc", "f1_macro", "log_loss"),
    "ordinal": ("quadratic_kappa", "accuracy"),
}


def infer(
    root: Path, name: str, data: str, label: str | None = None, layout: str | None = None
) -> list[Finding]:
    """Return what the config of this competition should say, in the order it should say it.

    Args:
        root: The competition's folder.
        name: What to call the competition.
        data: How ``competition.data`` should name the folder.
        label: The label column, where the tables leave it open.
        layout: Take this layout, whatever else might be recognised.

    Raises:
        KitError: The folder is missing, empty, or says nothing that kit understands.
    """
    survey = survey_folder(root)
    found = recognise(survey, label, layout)
    test = _find_test(survey, found)
    sample = _find_sample(survey, test)
    classes, task = _find_task(found)
    submission = _find_submission(sample, test, found.train, classes, task.value)
    kind = next((f.value for f in submission if f.key == "submission.kind"), "")
    held_out = [
        f for name, part in found.held_out.items() for f in part.under(f"competition.held_out.{name}")
    ]
    return [
        Finding("name", name, "the experiment: another one needs another name"),
        Finding("competition.name", name, "names its folds, runs and submissions"),
        Finding("competition.data", data, "the folder given to kit init"),
        task,
        _find_metric(task.value, kind),
        *found.train.under("competition.train"),
        *held_out,
        *found.remarks,
        *(test.findings if test else [_no_test(found)]),
        *submission,
        _find_scheme(task.value, found.grouped),
    ]


@dataclass(frozen=True)
class Test:
    """The images to predict."""

    findings: list[Finding]
    folder: str
    ids: IdStyle
    table: Table | None


def _find_test(survey: Survey, found: Recognised) -> Test | None:
    """Return the images to predict: a folder without labels, or what a table lists beside the labelled."""
    labelled = [found.train, *found.held_out.values()]
    tables = [part.table for part in labelled if part.table]
    listing = [
        t
        for t in survey.tables
        if all(t is not table for table in tables) and not t.repeats and not is_called(t.name, "solution")
    ]
    folder = _test_folder(survey, [part.folder for part in labelled], listing)
    if folder is None:
        return None
    where = Finding("competition.test.folder", folder, f"{len(survey.images[folder])} images without labels")
    listing = [t for t in listing if t.folder == folder]
    samples = [t for t in listing if is_called(t.name, "sample", "submission")]
    whole = [t for t in listing if t.matched == len(t.cells)]
    table = next(iter(samples or [t for t in whole if is_called(t.name, "test")] or whole), None)
    if table is None:
        passed = [f"{t.name} names {len(t.cells) - t.matched} images that are not there" for t in listing]
        passed += [f"{n} cannot be read ({why})" for n, why in survey.ignored.items() if is_called(n, "test")]
        because = f"{passed[0] if passed else 'no file lists the test ids'}: every image of the folder"
        return Test([where, Finding("competition.test.ids", "name", because)], folder, "name", None)
    rows = f"{table.matched} of {len(table.cells)} values are images in {folder}/"
    style = "with" if table.ids == "name" else "without"
    return Test(
        [
            where,
            Finding("competition.test.file", table.name, f"lists {len(table.cells)} test ids"),
            Finding("competition.test.id", table.id, rows),
            Finding("competition.test.ids", table.ids, f"the id is the file's name {style} its ending"),
        ],
        folder,
        table.ids,
        table,
    )


def _test_folder(survey: Survey, labelled: Sequence[str], listing: Sequence[Table]) -> str | None:
    """Return the folder of the images to predict: one called test, a flat one, or where a list points."""
    apart = [f for f in survey.images if not any(_overlap(f, other) for other in labelled)]
    named = [f for f in apart if is_called(f, "test", "predict", "unlabeled", "unlabelled")]
    flat = [f for f in apart if f not in survey.class_folders and not _holds_folders(survey, f)]
    return next(iter(named or flat), None) or next((t.folder for t in listing), None)


def _overlap(a: str, b: str) -> bool:
    """Tell whether one folder is, or lies in, the other."""
    x, y = PurePosixPath(a), PurePosixPath(b)
    return x.is_relative_to(y) or y.is_relative_to(x)


def _holds_folders(survey: Survey, folder: str) -> bool:
    return any(f != folder and PurePosixPath(f).is_relative_to(folder) for f in survey.images)


def _no_test(found: Recognised) -> Finding:
    aside = f"; {first_few(list(found.held_out))} is held out and scored" if found.held_out else ""
    return Finding("competition.test", None, f"no images without labels: nothing to hand in{aside}")


def _find_sample(survey: Survey, test: Test | None) -> Table | None:
    samples = [t for t in survey.tables if t.others and is_called(t.name, "sample", "submission")]
    return next((t for t in samples if test and t.folder == test.folder), None)


def _find_task(found: Recognised) -> tuple[list[str], Finding]:
    labels = found.train.labels
    if "label" not in labels:
        classes = sorted(map(str, labels.columns), key=natural_key)
        per_image = float((labels == 1).sum(axis=1).mean())
        because = f"{len(classes)} classes that an image has or has not, {per_image:.2g} per image"
        return classes, Finding("competition.task", "multilabel", because)
    classes = sorted(set(labels["label"]) - {""}, key=natural_key)
    if found.ordinal:
        because = f"{found.ordinal}, in this order; multiclass if the order means nothing"
        return classes, Finding("competition.task", "ordinal", because)
    if len(classes) == 2:
        return classes, Finding("competition.task", "binary", f"two classes: {classes[0]} and {classes[1]}")
    because = f"one label per image, {len(classes)} classes from {classes[0]} to {classes[-1]}"
    return classes, Finding("competition.task", "multiclass", because)


def _find_metric(task: str, kind: str) -> Finding:
    """Return the likeliest metric, the others that are likely in its reason."""
    likely = LIKELY_FOR_TASK.get(task, LIKELY_METRICS[kind])
    fitting = [name for name in likely if name in metrics and metrics.get(name).suits(tasks.get(task))]
    asked = {
        "label": "the submission holds labels",
        "probabilities": "the submission holds probabilities",
        "score": "the submission holds one score per image",
        "": "nothing is handed in",
    }[kind]
    others = f" (or {', '.join(fitting[1:])})" if len(fitting) > 1 else ""
    why = f"usual for {task}" if task in LIKELY_FOR_TASK else asked
    return Finding("competition.metric", fitting[0], f"{why}: a guess, set what the rules say{others}")


def _find_scheme(task: str, grouped: str) -> Finding:
    scheme = "stratified" if tasks.get(task).exclusive else "multilabel"
    spread = "every class spread evenly over the folds"
    if grouped:
        return Finding("folds.scheme", f"{scheme}_group", f"{grouped}; {spread}")
    return Finding("folds.scheme", scheme, spread)


def _find_submission(
    sample: Table | None, test: Test | None, train: Labelled, classes: list[str], task: str
) -> list[Finding]:
    if test is None:
        return []
    if sample is not None:
        kind, why = _kind_of_sample(sample, classes, task)
        found = Finding(
            "submission.sample", sample.name, f"columns {', '.join(map(str, sample.cells.columns))}"
        )
        order = [c for c in sample.others if c in set(classes)]
        as_there = [Finding("competition.classes", order, "the order of the sample's columns")]
        return [found, Finding("submission.kind", kind, why), *(as_there if kind == "probabilities" else [])]
    id_name = test.table.id if test.table else train.table.id if train.table else "id"
    source = test.table.name if test.table else train.table.name if train.table else "no table"
    id_found = Finding("submission.id", id_name, f"no sample file: the id column of {source}")
    if task == "multilabel":
        kind_found = Finding("submission.kind", "probabilities", "no sample file: one column per class")
        return [kind_found, id_found]
    label = next((f.value for f in train.source if f.key == "label" and isinstance(f.value, str)), "label")
    source = train.table.name if train.table else "kit's default"
    return [
        Finding("submission.kind", "label", "no sample file: the class's name, as in the training labels"),
        id_found,
        Finding("submission.label", label, f"no sample file: the label column of {source}"),
    ]


def _kind_of_sample(sample: Table, classes: list[str], task: str) -> tuple[str, str]:
    others = sample.others
    if set(others) == set(classes):
        return "probabilities", f"one column per class, such as {', '.join(others[:3])}"
    if len(others) != 1:
        odd = sorted(set(classes) ^ set(others), key=natural_key)
        raise KitError(
            sample.name,
            f"has {len(others)} columns beside '{sample.id}', which are not the {len(classes)} classes "
            f"(differing: {first_few(odd)})",
            "kit writes one label column, or one column per class",
        )
    values = pd.Index(sample.cells[others[0]]).unique()
    if task == "binary" and not set(values) <= set(classes) and all(map(_is_share, values)):
        return "score", f"column '{others[0]}' holds numbers: the probability of {classes[1]}"
    known, shown = set(values) <= set(classes), ", ".join(sorted(values, key=natural_key)[:2])
    held = "holds class names" if known else "is the only one beside the id"
    return "label", f"column '{others[0]}' {held}, such as {shown}"


def _is_share(cell: str) -> bool:
    return re.fullmatch(r"[01]?\.\d+|0|1", cell) is not None

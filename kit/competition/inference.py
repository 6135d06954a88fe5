"""What a competition folder is about, inferred from its files, each conclusion with its evidence."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from kit.competition.files import IdStyle, natural_key
from kit.competition.survey import Survey, Table, is_called, survey_folder
from kit.errors import KitError, first_few

LABEL_NAMES = ("label", "labels", "target", "class", "category", "species", "breed", "diagnosis")


class Finding(NamedTuple):
    """One line of the config to be: its key, its value, and why."""

    key: str
    value: Any
    because: str


def infer(root: Path, name: str, data: str, label: str | None = None) -> list[Finding]:
    """Return what the config of this competition should say, in the order it should say it.

    Args:
        root: The competition's folder.
        name: What to call the competition.
        data: How ``competition.data`` should name the folder.
        label: The label column, where the tables leave it open.

    Raises:
        KitError: The folder is missing, empty, or says nothing that kit understands.
    """
    survey = survey_folder(root)
    train = _find_train(survey, label)
    test = _find_test(survey, train)
    sample = _find_sample(survey, test)
    classes, task = _find_task(train)
    findings = [
        Finding("name", name, "the experiment: another one needs another name"),
        Finding("competition.name", name, "names its folds, runs and submissions"),
        Finding("competition.data", data, "the folder given to kit init"),
    ]
    submission = _find_submission(sample, test, train, classes, task.value)
    kind = next(f.value for f in submission if f.key == "submission.kind")
    return [*findings, task, _find_metric(task.value, kind), *train.findings, *test.findings, *submission]


@dataclass(frozen=True)
class Train:
    """The labelled images: what the config says of them, and their labels."""

    findings: list[Finding]
    folder: str
    labels: pd.DataFrame
    class_folders: bool
    table: Table | None = None


@dataclass(frozen=True)
class Test:
    """The images to predict."""

    findings: list[Finding]
    folder: str
    ids: IdStyle
    table: Table | None


def _find_train(survey: Survey, label: str | None) -> Train:
    labelled = [
        t
        for t in survey.tables
        if t.others
        and not is_called(t.name, "sample", "submission", "solution")
        and not is_called(t.name, "test")
    ]
    if labelled:
        return _train_from_table(_preferred(labelled, "train"), label)
    folders = [f for f in survey.class_folders if not is_called(f, "test")]
    if not folders:
        tables = f" (tables: {first_few(survey.ignored)})" if survey.ignored else ""
        raise KitError(
            survey.root / survey.prefix,
            f"has neither folders per class nor a CSV that names images and labels{tables}",
            "Labels come from train/<class>/*.jpg, or from a CSV with a column of image names",
        )
    folder = next((f for f in folders if is_called(f, "train")), folders[0])
    return _train_from_class_folders(survey, folder)


def _preferred(tables: Sequence[Table], word: str) -> Table:
    return next((t for t in tables if is_called(t.name, word)), tables[0])


def _train_from_class_folders(survey: Survey, folder: str) -> Train:
    names = survey.class_folders[folder]
    found = survey.images[folder]
    labels = pd.DataFrame({"label": [image.split("/")[0] for image in found]}, dtype=str)
    numbered = all(name.isdecimal() for name in names)
    order = "in natural order, 2 before 10" if numbered else "in natural order"
    because = f"{len(found)} images in {len(names)} folders: one class per folder, {order}"
    return Train(
        [
            Finding("competition.train.layout", "class_folders", because),
            Finding("competition.train.folder", folder, f"holds folders such as {', '.join(names[:3])}"),
        ],
        folder,
        labels,
        class_folders=True,
    )


def _train_from_table(table: Table, label: str | None) -> Train:
    chosen, why = _label_columns(table, label)
    style = "with" if table.ids == "name" else "without"
    columns = [chosen] if isinstance(chosen, str) else chosen
    labels = table.cells[columns]
    rows = f"{table.matched} of {len(table.cells)} values are images in {table.folder}/"
    return Train(
        [
            Finding("competition.train.layout", "csv", f"{table.name} names images and their labels"),
            Finding("competition.train.folder", table.folder, f"where the images of {table.name} lie"),
            Finding("competition.train.file", table.name, f"{len(table.cells)} rows"),
            Finding("competition.train.id", table.id, rows),
            Finding("competition.train.ids", table.ids, f"ids are file names {style} ending"),
            Finding("competition.train.label", chosen, why),
        ],
        table.folder,
        labels.set_axis(["label"], axis=1) if isinstance(chosen, str) else labels,
        class_folders=False,
        table=table,
    )


def _label_columns(table: Table, label: str | None) -> tuple[str | list[str], str]:
    others = table.others
    if label is not None:
        if label not in others:
            raise KitError(
                f"--label {label}", f"{table.name} has no such column", f"Others: {', '.join(others)}"
            )
        return label, "given by --label"
    if len(others) == 1:
        return others[0], f"the only column beside the id; {_examples(table.cells[others[0]])}"
    named = [c for c in others if c.lower() in LABEL_NAMES]
    if len(named) == 1:
        return named[0], f"the one column called like a label; {_examples(table.cells[named[0]])}"
    if table.cells[others].isin(["0", "1"]).all(axis=None):
        return others, f"{len(others)} columns of 0 and 1: one per class"
    raise KitError(
        table.name,
        f"any of its columns {', '.join(others)} could be the label",
        "kit does not guess",
        "Say which: `kit init DATA --label COLUMN`.",
    )


def _examples(values: Iterable[str]) -> str:
    return f"values such as {', '.join(sorted(set(values), key=natural_key)[:3])}"


def _find_test(survey: Survey, train: Train) -> Test:
    listing = [t for t in survey.tables if t is not train.table and not is_called(t.name, "solution")]
    others = [f for f in survey.images if f != train.folder]
    named = [f for f in others if is_called(f, "test")]
    flat = [f for f in others if f not in survey.class_folders]
    folder = next(iter(named or flat), None) or next((t.folder for t in listing), None)
    if folder is None:
        raise KitError(
            survey.root / survey.prefix,
            f"has no test images: only {train.folder}/ holds any",
            "The images to predict lie in a folder of their own, such as test/, or are listed in a CSV",
        )
    listing = [t for t in listing if t.folder == folder]
    where = Finding("competition.test.folder", folder, f"{len(survey.images[folder])} images without labels")
    if not listing:
        because = "no file lists the test ids: every image of the folder, ids with ending"
        return Test([where, Finding("competition.test.ids", "name", because)], folder, "name", None)
    table = next((t for t in listing if is_called(t.name, "sample", "submission")), None)
    table = table or _preferred(listing, "test")
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


def _find_sample(survey: Survey, test: Test) -> Table | None:
    samples = [t for t in survey.tables if t.others and is_called(t.name, "sample", "submission")]
    return next((t for t in samples if t.folder == test.folder), None)


def _find_task(train: Train) -> tuple[list[str], Finding]:
    if "label" not in train.labels:
        classes = list(train.labels.columns)
        because = f"{len(classes)} label columns, {_labels_per_image(train.labels):.2g} set per image"
        return classes, Finding("competition.task", "multilabel", because)
    classes = sorted(set(train.labels["label"]), key=natural_key)
    if len(classes) == 2:
        return classes, Finding("competition.task", "binary", f"two classes: {classes[0]} and {classes[1]}")
    because = f"one label per image, {len(classes)} classes from {classes[0]} to {classes[-1]}"
    return classes, Finding("competition.task", "multiclass", because)


def _labels_per_image(labels: pd.DataFrame) -> float:
    return float((labels == "1").sum(axis=1).mean())


def _find_metric(task: str, kind: str) -> Finding:
    if task == "multilabel":
        return Finding("competition.metric", "roc_auc", "a guess for multi-label: set what the rules say")
    metric, why = {
        "label": ("accuracy", "the submission holds labels"),
        "probabilities": ("log_loss", "the submission holds probabilities"),
        "score": ("roc_auc", "the submission holds one score per image"),
    }[kind]
    return Finding("competition.metric", metric, f"{why}: a guess, set what the rules say")


def _find_submission(
    sample: Table | None, test: Test, train: Train, classes: list[str], task: str
) -> list[Finding]:
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
    label = next((f.value for f in train.findings if f.key == "competition.train.label"), "label")
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
    values = set(sample.cells[others[0]])
    if (
        task == "binary"
        and not values <= set(classes)
        and all(re.fullmatch(r"[01]?\.\d+|0|1", v) for v in values)
    ):
        return "score", f"column '{others[0]}' holds numbers: the probability of {classes[1]}"
    known, shown = values <= set(classes), ", ".join(sorted(values, key=natural_key)[:2])
    held = "holds class names" if known else "is the only one beside the id"
    return (
        "label",
        f"column '{others[0]}' {held}, such as {shown}",
    )

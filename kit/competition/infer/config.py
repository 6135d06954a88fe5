"""Infer the config of a competition from its files, each value with its evidence."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from kit.competition.infer.class_codes import find_codes
from kit.competition.infer.images_to_predict import DetectedTest, find_test, name_of
from kit.competition.layouts import detect_layout
from kit.competition.layouts.base import Detection, Finding, Hints, LabeledPart
from kit.competition.layouts.label_columns import is_word
from kit.competition.shares import several_classes, tied_classes
from kit.competition.survey import Survey
from kit.errors import counted, counted_of, first_few
from kit.metrics import metrics
from kit.natural import natural_key
from kit.submission_format.evidence import CompetitionFacts
from kit.submission_format.infer_kind import find_id_column, infer_kind
from kit.submission_format.kinds import default_kind, submission_kinds
from kit.submission_format.sample import Sample
from kit.submission_format.spelling import NUMBER, SEPARATORS
from kit.tasks import (
    BINARY,
    LABEL,
    MULTICLASS,
    MULTILABEL,
    NO_LABEL,
    ORDINAL,
    REGRESSION,
    SOFT,
    VALUE,
    Target,
    Task,
)

NO_HINTS = Hints()
OPEN = "auto"  # the kind of a sample whose cells do not show it: the metric decides
SCORE_METRICS = ("roc_auc", "log_loss")  # of a score of two classes
MANY_INTEGERS = 30  # different integers that are rather measured than names of classes
CLASS_WORDS = ("id", "class", "category", "species", "breed", "type", "code", "group", "individual")
SCHEME_OF: dict[Target, str] = {
    "class": "stratified",
    "distribution": "stratified",
    "classes": "multilabel",
    "number": "quantile",
}


def infer_config(survey: Survey, name: str, data: str, hints: Hints = NO_HINTS) -> list[Finding]:
    """Return the values of a competition's config, in the order in which the YAML has them.

    Args:
        survey: The content of the competition's folder.
        name: The competition's name.
        data: The value of ``competition.data``.
        hints: What the user says of the folder.

    Raises:
        KitError: The layout of the folder is unknown, or it has two readings.
    """
    found = detect_layout(survey, hints)
    classes, task, because = _infer_task(found)
    test = find_test(survey, found, classes)
    classes, task, because = _task_of_sample(task, because, classes, test, survey)
    submission = _infer_submission(survey, test, found.train, classes, task)
    values = {finding.key: finding.value for finding in submission}
    if test is not None and test.table is not None and test.table.ids == "folder":
        pooled = "a row is a folder of images: their predictions are averaged"
        submission.append(Finding("submission.pool.image", "^([^/]+)/", pooled))
    return [
        Finding("name", name, "the experiment's name; another experiment needs another name"),
        Finding("competition.name", name, "the name of its folds, runs and submissions"),
        Finding("competition.data", data, "the folder given to kit init"),
        Finding("competition.task", task.name, because),
        *_infer_metric(task, values.get("submission.kind", ""), values.get("submission.most")),
        *found.train.under("competition.train"),
        *(f for name, part in found.held_out.items() for f in part.under(f"competition.held_out.{name}")),
        *found.remarks,
        *(test.findings if test else [_no_test(found)]),
        *submission,
        _infer_scheme(task, found.grouped),
        *([] if task.numeric else _infer_rare(found.train)),
    ]


def _no_test(found: Detection) -> Finding:
    held_out = f"; {first_few(list(found.held_out))} is held out and scored" if found.held_out else ""
    return Finding("competition.test", None, f"all images have labels: there is nothing to submit{held_out}")


# --- task, metric, folds


def _infer_task(found: Detection) -> tuple[list[str], Task, str]:
    """Return the classes in natural order, the task, and the evidence for it."""
    labels = found.train.labels
    if found.train.shares is not None:
        return _of_distributions(found.train.shares)
    if LABEL not in labels:
        classes = sorted(map(str, labels.columns), key=natural_key)
        per_image = float((labels == 1).sum(axis=1).mean())
        return classes, MULTILABEL, f"{counted(len(classes), 'class', 'classes')}, {per_image:.2g} per image"
    classes = sorted(set(labels[LABEL]) - {NO_LABEL}, key=natural_key)
    if (because := _measurements(found, classes)) and not found.ordinal:
        return [VALUE], REGRESSION, because
    if found.ordinal:
        return classes, ORDINAL, f"{found.ordinal}, in this order; multiclass if the order has no meaning"
    if len(classes) == BINARY.num_classes:
        return classes, BINARY, f"two classes: {classes[0]} and {classes[1]}"
    ends = f"from {classes[0]} to {classes[-1]}"
    measured = found.train.table is not None and len(classes) > MANY_INTEGERS and _are_codes(classes)
    other = "; regression if they measure something" if measured else ""
    return (
        classes,
        MULTICLASS,
        f"one label per image, {counted(len(classes), 'class', 'classes')} {ends}{other}",
    )


def _of_distributions(shares: pd.DataFrame) -> tuple[list[str], Task, str]:
    """Return the classes, the task of distributions, and the evidence for it."""
    classes = sorted(map(str, shares.columns), key=natural_key)
    several, tied = several_classes(shares), tied_classes(shares)
    ties = f", and {tied} have several classes with the most" if tied else ""
    because = (
        f"{counted_of(several, len(shares), 'image', 'has', 'have')} votes for several of the "
        f"{counted(len(classes), 'class', 'classes')}{ties}"
    )
    return classes, SOFT, f"{because}; set multiclass to use only the class with the most votes"


def _measurements(found: Detection, classes: Sequence[str]) -> str:
    """Return the evidence that labels are measurements, not names of classes, or "".

    Many different numbers with decimals are measurements. So are many different integers of a table, unless
    they number classes (0 to k - 1, or 1 to k) or their column is named like an identifier of classes.
    """
    if not all(NUMBER.fullmatch(name) for name in classes):
        return ""
    shown = f"{len(classes)} different numbers such as {', '.join(classes[:3])}"
    if any("." in name for name in classes):
        is_many = len(classes) > len(found.train.labels) / 4
        return f"{shown}: measurements (multiclass if they are names of classes)" if is_many else ""
    column = next((f.value for f in found.train.source if f.key == "label"), None)
    if found.train.table is None or len(classes) <= MANY_INTEGERS or _are_codes(classes):
        return ""
    if is_word(str(column), CLASS_WORDS):
        return ""
    return (
        f"{shown}, more than {MANY_INTEGERS}, and not numbered from 0 or 1 (multiclass if they name classes)"
    )


def _are_codes(classes: Sequence[str]) -> bool:
    """Return whether integers number classes: they are 0 to k - 1, or 1 to k."""
    codes = sorted(map(int, classes)) if all(name.isdecimal() for name in classes) else []
    return bool(codes) and codes in (list(range(len(codes))), list(range(1, len(codes) + 1)))


def _task_of_sample(
    task: Task, because: str, classes: list[str], test: DetectedTest | None, survey: Survey
) -> tuple[list[str], Task, str]:
    """Return classes, task and evidence, after a look at the sample.

    If classes are integers and the sample has numbers between them, the task is ordinal; regression if there
    are many integers, or some between them are missing.
    """
    if not task.is_nominal or test is None or test.sample is None or not _has_fractions(test.sample, test):
        return classes, task, because
    if not all(NUMBER.fullmatch(name) for name in classes):
        return classes, task, because
    because = f"{classes[0]} to {classes[-1]}, and {name_of(test.sample, survey)} has numbers between them"
    if len(classes) <= MANY_INTEGERS and _are_consecutive(classes):
        return classes, ORDINAL, because
    return [VALUE], REGRESSION, f"{because}: {counted(len(classes), 'number')} (ordinal if they are grades)"


def _has_fractions(sample: Sample, test: DetectedTest) -> bool:
    """Return whether a sample's one column beside the id holds numbers, not all of them integers."""
    names = sample.value_names(test.id_column or find_id_column(sample, test.ids))
    cells = [cell for cell in sample.cells(names[0]).unique().to_pylist() if cell.strip()]
    are_numbers = len(names) == 1 and all(NUMBER.fullmatch(cell) for cell in cells)
    return are_numbers and not all(cell.lstrip("+-").isdecimal() for cell in cells)


def _are_consecutive(classes: Sequence[str]) -> bool:
    numbers = sorted(map(int, classes)) if all(name.isdecimal() for name in classes) else []
    return bool(numbers) and numbers[-1] - numbers[0] + 1 == len(numbers)


def _infer_metric(task: Task, kind: str, most: int | None) -> list[Finding]:
    """Return the most likely metric; the comment names other likely metrics."""
    entry = submission_kinds.get(kind) if kind in submission_kinds else None
    likely = task.usual_metrics if kind != OPEN else (*SCORE_METRICS, *task.usual_metrics)
    if entry is not None:
        likely = entry.likely_metrics_for.get(task.name, entry.likely_metrics)
    fitting = [name for name in likely if name in metrics and metrics.get(name).suits(task)]
    others = f" (or {', '.join(fitting[1:3])})" if len(fitting) > 1 else ""
    evidence = f"the submission has {entry.description}" if entry else f"usual for {task.name}"
    if kind == OPEN:
        evidence = "all cells of the sample are equal; scores of two classes are usual"
    because = f"{evidence}: a guess, set the metric of the rules{others}"
    if most is None or entry is None or not entry.ranked:
        return [Finding("competition.metric", fitting[0], because)]
    ranks = Finding("competition.metric.k", most, "the number of classes in a cell of the sample")
    return [Finding("competition.metric.name", fitting[0], because), ranks]


def _infer_scheme(task: Task, grouped: str) -> Finding:
    scheme = SCHEME_OF[task.target]
    of = "range of numbers" if task.numeric else "class, by the largest share" if task.soft else "class"
    balanced = f"every fold has the same share of each {of}"
    if grouped:
        return Finding("folds.scheme", f"{scheme}_group", f"{grouped}; {balanced}")
    return Finding("folds.scheme", scheme, balanced)


def _infer_rare(train: LabeledPart) -> list[Finding]:
    """Return the value that lets folds be made if a class has a single image, or a single group."""
    groups = train.groups
    if LABEL in train.labels:
        pairs = train.labels.assign(group=groups)[train.labels[LABEL] != NO_LABEL]
        units = pairs.groupby(LABEL)["group"].nunique()
    else:
        units = (train.labels == 1).apply(lambda has_class: groups[has_class].nunique())
    rare = sorted(map(str, units.index[units == 1]), key=natural_key)
    if not rare:
        return []
    what = "group" if groups.duplicated().any() else "image"
    classes = counted(len(rare), "class has", "classes have")
    because = f"{classes} a single {what} ({first_few(rare)}): trained on, never validated"
    return [Finding("folds.rare", "train", because)]


# --- the submission


def _infer_submission(
    survey: Survey, test: DetectedTest | None, train: LabeledPart, classes: list[str], task: Task
) -> list[Finding]:
    if test is None:
        return []
    if test.sample is not None:
        return _from_sample(test.sample, test, survey, classes, task)
    table = test.table or train.table
    id_name = table.id if table else "id"
    source = table.name if table else "no table"
    id_found = Finding("submission.id", id_name, f"no sample file: the id column of {source}")
    if task.target in ("classes", "distribution"):
        kind = default_kind(task, label_column=False).name
        return [Finding("submission.kind", kind, "no sample file: one column per class"), id_found]
    kind = default_kind(task, label_column=True).name
    label = next((f.value for f in train.source if f.key == "label" and isinstance(f.value, str)), "label")
    written = "numbers" if task.numeric else "class names"
    source = f"the label column of {train.table.name}" if train.table else "kit's default"
    return [
        Finding("submission.kind", kind, f"no sample file: {written}, as in the training labels"),
        id_found,
        Finding("submission.label", label, f"no sample file: {source}"),
    ]


def _from_sample(
    sample: Sample, test: DetectedTest, survey: Survey, classes: list[str], task: Task
) -> list[Finding]:
    """Return the values of the section ``submission`` that a sample file shows."""
    name = name_of(sample, survey)
    id_column = test.id_column or find_id_column(sample, test.ids)
    columns: Sequence[str] = sample.value_names(id_column)
    codes = None if task.numeric else find_codes(survey, _class_words(sample, columns), classes)
    written = codes.codes if codes else {each: each for each in classes}
    facts = CompetitionFacts(tuple(written[c] for c in classes), task, test.ids).for_columns(columns)
    found = infer_kind(sample, id_column, facts)
    findings = [
        Finding(
            "submission.sample", name, f"columns {', '.join(sample.header)}{_repeats(sample, id_column)}"
        ),
        Finding("submission.kind", OPEN if found.is_open else found.kind.name, found.because),
    ]
    if codes is not None:
        example = f"'{classes[0]}' is written as '{codes.codes[classes[0]]}', as in the sample"
        findings += [
            Finding("submission.codes.file", codes.name, f"translates class names: {example}"),
            Finding("submission.codes.class", codes.classes, "the column of class names"),
            Finding("submission.codes.code", codes.code, "the column of what the sample contains"),
        ]
    for key, value, because in (
        ("separator", found.options.get("separator"), "separates the classes in a cell of the sample"),
        ("most", found.options.get("most"), "the number of classes in a cell of the sample"),
        ("blank", found.options.get("blank") or None, "the sample has blank cells"),
    ):
        if value is not None:
            findings.append(Finding(f"submission.{key}", value, because))
    if found.kind.allows_blank and not found.options.get("blank"):
        because = "no cell of the sample is blank: an image without a class gets its most likely one"
        findings.append(Finding("decide", [{"name": "thresholds", "at_least_one": True}], because))
    if found.kind.class_columns:
        names = {code: name for name, code in written.items()}
        columns = [names[column] for column in columns]
        left_out = [name for name in classes if name not in columns]
        because = "the order of the sample's columns"
        if left_out:
            because += f"; it has no column for {first_few(left_out)}: trained on, not submitted"
        findings.append(Finding("competition.classes", [*columns, *left_out], because))
    return findings


def _repeats(sample: Sample, id_column: str) -> str:
    """Return what the sample's ids say of its rows, if some have several."""
    ids = sample.cells(id_column)
    several = len(ids) - len(ids.unique())
    return (
        f"; ids have several rows ({counted(len(ids), 'row')}, {counted(len(ids) - several, 'id')}), "
        "which get the same values"
        if several
        else ""
    )


def _class_words(sample: Sample, columns: Sequence[str]) -> set[str]:
    """Return the words that stand for classes in a sample: its columns, or the words of its cells."""
    if len(columns) > 1:
        return set(columns)
    cells = sample.cells(columns[0]).unique().to_pylist()
    separator = next((each for each in SEPARATORS if any(each in cell.strip() for cell in cells)), None)
    return {word for cell in cells for word in cell.split(separator) if word}

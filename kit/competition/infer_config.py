"""Infer the config of a competition from its files, each value with its evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kit.competition.files import ID_STYLES, IdStyle, image_id
from kit.competition.layouts import detect_layout
from kit.competition.layouts.base import Detection, Finding, LabeledPart
from kit.competition.survey import Survey, Table, has_word, survey_folder
from kit.errors import KitError, first_few
from kit.metrics import metrics
from kit.natural import natural_key
from kit.submission_format.evidence import CompetitionFacts
from kit.submission_format.infer_kind import find_id_column, infer_kind
from kit.submission_format.kinds import default_kind, submission_kinds
from kit.submission_format.kinds.long import find_long_rows
from kit.submission_format.sample import Sample, read_sample
from kit.tasks import BINARY, LABEL, MULTICLASS, MULTILABEL, NO_LABEL, ORDINAL, Task, tasks


def infer_config(
    root: Path, name: str, data: str, label: str | None = None, layout: str | None = None
) -> list[Finding]:
    """Return the values of a competition's config, in the order in which the YAML has them.

    Args:
        root: The competition's folder.
        name: The competition's name.
        data: The value of ``competition.data``.
        label: The label column, if the tables leave it open.
        layout: The layout, in place of the detected one.

    Raises:
        KitError: The folder is missing or empty, or its layout is unknown.
    """
    survey = survey_folder(root)
    found = detect_layout(survey, label, layout)
    classes, task, because = _infer_task(found)
    test = _find_test(survey, found, classes)
    task, because = _task_of_sample(task, because, classes, test, survey)
    submission = _infer_submission(survey, test, found.train, classes, task)
    values = {finding.key: finding.value for finding in submission}
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
    ]


# --- the images to predict


@dataclass(frozen=True)
class DetectedTest:
    """The images to predict, the table that lists them, and the sample submission."""

    findings: list[Finding]
    folder: str
    ids: IdStyle
    table: Table | None
    sample: Sample | None = None


def _find_test(survey: Survey, found: Detection, classes: Sequence[str]) -> DetectedTest | None:
    """Return the images to predict: a folder without labels, or images listed in a table without labels."""
    parts = [found.train, *found.held_out.values()]
    tables = [
        t
        for t in survey.tables
        if all(t is not part.table for part in parts) and not t.repeats and not has_word(t.name, "solution")
    ]
    folder = _test_folder(survey, [part.folder for part in parts], tables)
    if folder is None:
        return None
    where = Finding("competition.test.folder", folder, f"{len(survey.images[folder])} images without labels")
    tables = [t for t in tables if t.folder == folder]
    samples = [t for t in tables if _is_sample(t.name)]
    complete = [t for t in tables if t.matched == len(t.cells)]
    table = next(iter(samples or [t for t in complete if has_word(t.name, "test")] or complete), None)
    names = [t.name for t in survey.tables if t.folder == folder and t.others and _is_sample(t.name)]
    sample = read_sample(survey.root / names[0]) if names else None
    long = _find_long_sample(survey, folder, classes) if sample is None else None
    if long is not None and table is None:
        ids, joined = long
        because = f"combined with a class, they are the ids of {_name(joined, survey)}"
        return DetectedTest([where, Finding("competition.test.ids", ids, because)], folder, ids, None, joined)
    if table is None:
        ignored = [f"{t.name} lists {len(t.cells) - t.matched} images that do not exist" for t in tables]
        ignored += [f"{n} cannot be read ({why})" for n, why in survey.ignored.items() if has_word(n, "test")]
        because = f"{ignored[0] if ignored else 'no file lists the test ids'}: every image of the folder"
        return DetectedTest([where, Finding("competition.test.ids", "name", because)], folder, "name", None)
    rows = f"{table.matched} of {len(table.cells)} values are images in {folder}/"
    style = "with" if table.ids == "name" else "without"
    findings = [
        where,
        Finding("competition.test.file", table.name, f"lists {len(table.cells)} test ids"),
        Finding("competition.test.id", table.id, rows),
        Finding("competition.test.ids", table.ids, f"ids are file names {style} suffix"),
    ]
    return DetectedTest(findings, folder, table.ids, table, long[1] if long is not None else sample)


def _is_sample(name: str) -> bool:
    return has_word(name, "sample", "submission")


def _name(sample: Sample, survey: Survey) -> str:
    return sample.path.relative_to(survey.root).as_posix()


def _find_long_sample(survey: Survey, folder: str, classes: Sequence[str]) -> tuple[IdStyle, Sample] | None:
    """Return a sample whose ids combine an image and a class, and the style of the image ids in it."""
    for name in filter(_is_sample, survey.ignored):
        try:
            sample = read_sample(survey.root / name)
        except KitError:
            continue  # `kit init` says why the file is ignored
        for style in ID_STYLES:
            images = [image_id(image, style) for image in survey.images[folder]]
            facts = CompetitionFacts(tuple(classes), MULTILABEL, images)
            if find_long_rows(sample.columns[0].to_pylist(), facts) is not None:
                return style, sample
    return None


def _test_folder(survey: Survey, labeled: Sequence[str], tables: Sequence[Table]) -> str | None:
    """Return the folder of the images to predict: named test, or without subfolders, or given by a table."""
    apart = [f for f in survey.images if not any(_overlap(f, other) for other in labeled)]
    named = [f for f in apart if has_word(f, "test", "predict", "unlabeled", "unlabelled")]
    flat = [f for f in apart if f not in survey.class_folders and not _has_folders(survey, f)]
    return next(iter(named or flat), None) or next((t.folder for t in tables), None)


def _overlap(a: str, b: str) -> bool:
    """Return whether one folder is the other, or lies in it."""
    x, y = PurePosixPath(a), PurePosixPath(b)
    return x.is_relative_to(y) or y.is_relative_to(x)


def _has_folders(survey: Survey, folder: str) -> bool:
    return any(f != folder and PurePosixPath(f).is_relative_to(folder) for f in survey.images)


def _no_test(found: Detection) -> Finding:
    held_out = f"; {first_few(list(found.held_out))} is held out and scored" if found.held_out else ""
    return Finding("competition.test", None, f"all images have labels: there is nothing to submit{held_out}")


# --- task, metric, folds


def _infer_task(found: Detection) -> tuple[list[str], Task, str]:
    """Return the classes in natural order, the task, and the evidence for it."""
    labels = found.train.labels
    if LABEL not in labels:
        classes = sorted(map(str, labels.columns), key=natural_key)
        per_image = float((labels == 1).sum(axis=1).mean())
        return classes, MULTILABEL, f"{len(classes)} classes, {per_image:.2g} per image"
    classes = sorted(set(labels[LABEL]) - {NO_LABEL}, key=natural_key)
    if found.ordinal:
        return classes, ORDINAL, f"{found.ordinal}, in this order; multiclass if the order has no meaning"
    if len(classes) == BINARY.num_classes:
        return classes, BINARY, f"two classes: {classes[0]} and {classes[1]}"
    ends = f"from {classes[0]} to {classes[-1]}"
    return classes, MULTICLASS, f"one label per image, {len(classes)} classes {ends}"


def _task_of_sample(
    task: Task, because: str, classes: list[str], test: DetectedTest | None, survey: Survey
) -> tuple[Task, str]:
    """Return the ordinal task if classes are integers and the sample has numbers between them."""
    if not task.is_nominal or test is None or test.sample is None:
        return task, because
    images = [image_id(image, test.ids) for image in survey.images[test.folder]]
    facts = CompetitionFacts(tuple(classes), ORDINAL, images)
    try:
        kind = infer_kind(test.sample, find_id_column(test.sample, images), facts).kind
    except KitError:
        return task, because  # classes with names, or columns that are reported later
    if kind.implied_task is None:
        return task, because
    numbers = f"{_name(test.sample, survey)} has numbers between them"
    return tasks.get(kind.implied_task), f"{classes[0]} to {classes[-1]}, and {numbers}"


def _infer_metric(task: Task, kind: str, most: int | None) -> list[Finding]:
    """Return the most likely metric; the comment names other likely metrics."""
    entry = submission_kinds.get(kind) if kind else None
    likely = task.usual_metrics
    if entry is not None:
        likely = entry.likely_metrics_for.get(task.name, entry.likely_metrics)
    fitting = [name for name in likely if name in metrics and metrics.get(name).suits(task)]
    others = f" (or {', '.join(fitting[1:])})" if len(fitting) > 1 else ""
    evidence = f"the submission has {entry.description}" if entry else f"usual for {task.name}"
    because = f"{evidence}: a guess, set the metric of the rules{others}"
    if most is None or entry is None or not entry.ranked:
        return [Finding("competition.metric", fitting[0], because)]
    ranks = Finding("competition.metric.k", most, "the number of classes in a cell of the sample")
    return [Finding("competition.metric.name", fitting[0], because), ranks]


def _infer_scheme(task: Task, grouped: str) -> Finding:
    scheme = "stratified" if task.exclusive else "multilabel"
    balanced = "every fold has the same share of each class"
    if grouped:
        return Finding("folds.scheme", f"{scheme}_group", f"{grouped}; {balanced}")
    return Finding("folds.scheme", scheme, balanced)


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
    if not task.exclusive:
        kind = default_kind(task, label_column=False).name
        return [Finding("submission.kind", kind, "no sample file: one column per class"), id_found]
    kind = default_kind(task, label_column=True).name
    label = next((f.value for f in train.source if f.key == "label" and isinstance(f.value, str)), "label")
    source = f"the label column of {train.table.name}" if train.table else "kit's default"
    return [
        Finding("submission.kind", kind, "no sample file: class names, as in the training labels"),
        id_found,
        Finding("submission.label", label, f"no sample file: {source}"),
    ]


def _from_sample(
    sample: Sample, test: DetectedTest, survey: Survey, classes: list[str], task: Task
) -> list[Finding]:
    """Return the values of the section ``submission`` that a sample file shows."""
    name = _name(sample, survey)
    listed = test.table is not None and test.table.name == name
    images = [image_id(image, test.ids) for image in survey.images[test.folder]]
    id_column = test.table.id if listed and test.table else find_id_column(sample, images)
    found = infer_kind(sample, id_column, CompetitionFacts(tuple(classes), task, images))
    findings = [
        Finding("submission.sample", name, f"columns {', '.join(sample.header)}"),
        Finding("submission.kind", found.kind.name, found.because),
    ]
    for key, value, because in (
        ("separator", found.options.get("separator"), "separates the classes in a cell of the sample"),
        ("most", found.options.get("most"), "the number of classes in a cell of the sample"),
        ("blank", found.options.get("blank") or None, "the sample has blank cells"),
    ):
        if value is not None:
            findings.append(Finding(f"submission.{key}", value, because))
    if found.kind.class_columns:
        order = [column for column in sample.header if column in set(classes)]
        findings.append(Finding("competition.classes", order, "the order of the sample's columns"))
    return findings

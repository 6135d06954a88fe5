"""What a competition folder is about, inferred from its files, each conclusion with its evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kit.competition.detect_layout import Finding, Labelled, Recognised, recognise
from kit.competition.files import IdStyle, image_id
from kit.competition.survey import ID_STYLES, Survey, Table, is_called, survey_folder
from kit.errors import KitError, first_few
from kit.metrics import metrics
from kit.natural import natural_key
from kit.submission_format.evidence import CompetitionFacts
from kit.submission_format.infer_kind import find_id_column, infer_kind
from kit.submission_format.kinds import default_kind, submission_kinds
from kit.submission_format.kinds.long import find_long_rows
from kit.submission_format.sample import Sample, read_sample
from kit.tasks import tasks

LIKELY_WITHOUT_SUBMISSION = ("accuracy", "balanced_accuracy", "f1_macro")  # the first is proposed
LIKELY_WITHOUT_SUBMISSION_FOR = {
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
    classes, task = _find_task(found)
    test = _find_test(survey, found, classes)
    task = _grades_if_asked_for(task, classes, test, survey)
    submission = _find_submission(survey, test, found.train, classes, task.value)
    said = {finding.key: finding.value for finding in submission}
    held_out = [
        f for name, part in found.held_out.items() for f in part.under(f"competition.held_out.{name}")
    ]
    return [
        Finding("name", name, "the experiment: another one needs another name"),
        Finding("competition.name", name, "names its folds, runs and submissions"),
        Finding("competition.data", data, "the folder given to kit init"),
        task,
        *_find_metric(task.value, said.get("submission.kind", ""), said.get("submission.most")),
        *found.train.under("competition.train"),
        *held_out,
        *found.remarks,
        *(test.findings if test else [_no_test(found)]),
        *submission,
        _find_scheme(task.value, found.grouped),
    ]


@dataclass(frozen=True)
class Test:
    """The images to predict, the table that lists them, and the sample submission's file."""

    findings: list[Finding]
    folder: str
    ids: IdStyle
    table: Table | None
    sample: Sample | None = None


def _find_test(survey: Survey, found: Recognised, classes: Sequence[str]) -> Test | None:
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
    names = [t.name for t in survey.tables if t.folder == folder and t.others and _is_sample(t.name)]
    sample = read_sample(survey.root / names[0]) if names else None
    long = _find_long_sample(survey, folder, classes) if sample is None else None
    if long is not None and table is None:
        ids, joined = long
        because = f"with a class, they are the ids of {_name(joined, survey)}"
        return Test([where, Finding("competition.test.ids", ids, because)], folder, ids, None, joined)
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
        long[1] if long is not None else sample,
    )


def _is_sample(name: str) -> bool:
    return is_called(name, "sample", "submission")


def _name(sample: Sample, survey: Survey) -> str:
    return sample.path.relative_to(survey.root).as_posix()


def _find_long_sample(survey: Survey, folder: str, classes: Sequence[str]) -> tuple[IdStyle, Sample] | None:
    """Return a sample whose ids join an image and a class, and how the images are called there."""
    for name in survey.ignored:
        if not _is_sample(name):
            continue
        try:
            sample = read_sample(survey.root / name)
        except KitError:
            continue  # `kit init` says why nothing was made of it
        for style in ID_STYLES:
            images = [image_id(image, style) for image in survey.images[folder]]
            facts = CompetitionFacts(tuple(classes), tasks.get("multilabel"), images)
            if find_long_rows(sample.columns[0].to_pylist(), facts) is not None:
                return style, sample
    return None


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


def _grades_if_asked_for(task: Finding, classes: list[str], test: Test | None, survey: Survey) -> Finding:
    """Return the task ordinal for whole numbers of which the sample asks for numbers between."""
    if task.value != "multiclass" or test is None or test.sample is None:
        return task
    images = [image_id(image, test.ids) for image in survey.images[test.folder]]
    sample = test.sample
    try:
        facts = CompetitionFacts(tuple(classes), tasks.get("ordinal"), images)
        kind = infer_kind(sample, find_id_column(sample, images), facts).kind
    except KitError:
        return task  # classes with names, or columns that are told later
    because = f"{classes[0]} to {classes[-1]}, and {_name(sample, survey)} holds numbers between them"
    return task if kind.implied_task is None else task._replace(value=kind.implied_task, because=because)


def _find_metric(task: str, kind: str, most: int | None) -> list[Finding]:
    """Return the likeliest metric, the others that are likely in its reason."""
    entry = submission_kinds.get(kind) if kind else None
    usual = entry.likely_metrics_for if entry else LIKELY_WITHOUT_SUBMISSION_FOR
    likely = usual.get(task, entry.likely_metrics if entry else LIKELY_WITHOUT_SUBMISSION)
    fitting = [name for name in likely if name in metrics and metrics.get(name).suits(tasks.get(task))]
    reason = f"the submission holds {entry.description}" if entry else "there is no submission"
    others = f" (or {', '.join(fitting[1:])})" if len(fitting) > 1 else ""
    why = f"usual for {task}" if task in usual else reason
    because = f"{why}: a guess, set what the rules say{others}"
    if most is None or entry is None or not entry.ranked:
        return [Finding("competition.metric", fitting[0], because)]
    ranks = Finding("competition.metric.k", most, "as many as the sample ranks")
    return [Finding("competition.metric.name", fitting[0], because), ranks]


def _find_scheme(task: str, grouped: str) -> Finding:
    scheme = "stratified" if tasks.get(task).exclusive else "multilabel"
    spread = "every class spread evenly over the folds"
    if grouped:
        return Finding("folds.scheme", f"{scheme}_group", f"{grouped}; {spread}")
    return Finding("folds.scheme", scheme, spread)


def _find_submission(
    survey: Survey, test: Test | None, train: Labelled, classes: list[str], task: str
) -> list[Finding]:
    if test is None:
        return []
    if test.sample is not None:
        return _as_in_sample(test.sample, test, survey, classes, task)
    id_name = test.table.id if test.table else train.table.id if train.table else "id"
    source = test.table.name if test.table else train.table.name if train.table else "no table"
    id_found = Finding("submission.id", id_name, f"no sample file: the id column of {source}")
    if not tasks.get(task).exclusive:
        kind = default_kind(tasks.get(task), label_column=False).name
        return [Finding("submission.kind", kind, "no sample file: one column per class"), id_found]
    label = next((f.value for f in train.source if f.key == "label" and isinstance(f.value, str)), "label")
    source = train.table.name if train.table else "kit's default"
    return [
        Finding(
            "submission.kind",
            default_kind(tasks.get(task), label_column=True).name,
            "no sample file: the class's name, as in the training labels",
        ),
        id_found,
        Finding("submission.label", label, f"no sample file: the label column of {source}"),
    ]


def _as_in_sample(sample: Sample, test: Test, survey: Survey, classes: list[str], task: str) -> list[Finding]:
    """Return what a sample file shows of the submission."""
    name = _name(sample, survey)
    listed = test.table is not None and test.table.name == name
    images = [image_id(image, test.ids) for image in survey.images[test.folder]]
    id_column = test.table.id if listed and test.table else find_id_column(sample, images)
    found = infer_kind(sample, id_column, CompetitionFacts(tuple(classes), tasks.get(task), images))
    findings = [
        Finding("submission.sample", name, f"columns {', '.join(sample.header)}"),
        Finding("submission.kind", found.kind.name, found.because),
    ]
    for key, value, because in (
        ("separator", found.options.get("separator"), "what stands between the classes there"),
        ("most", found.options.get("most"), "as many classes as the sample ranks"),
        ("blank", found.options.get("blank") or None, "the sample has blank cells"),
    ):
        if value is not None:
            findings.append(Finding(f"submission.{key}", value, because))
    if found.kind.class_columns:
        order = [column for column in sample.header if column in set(classes)]
        findings.append(Finding("competition.classes", order, "the order of the sample's columns"))
    return findings

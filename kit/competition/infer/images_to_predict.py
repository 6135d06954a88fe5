"""Find the images to predict, the table that lists them, and the sample submission."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from kit.competition.images.decode import is_image
from kit.competition.images.files import IdStyle, image_id
from kit.competition.layouts.base import Detection, Finding
from kit.competition.survey import Survey
from kit.competition.tables.matching import Table
from kit.competition.words import has_role, has_word
from kit.errors import KitError, counted, first_few
from kit.submission_format.evidence import CompetitionFacts
from kit.submission_format.kinds.long import find_long_rows
from kit.submission_format.sample import Sample, read_sample
from kit.tasks import MULTILABEL

TEST_WORDS = ("test", "predict", "unlabeled", "unlabelled")


@dataclass(frozen=True)
class DetectedTest:
    """The images to predict.

    Attributes:
        findings: The keys of ``competition.test``.
        ids: The ids that the submission lists, one per image.
        id_column: The column of ids in the sample, if it is known.
        table: The table that lists the images.
    """

    findings: list[Finding]
    ids: list[str]
    id_column: str | None = None
    table: Table | None = None
    sample: Sample | None = None


def find_test(survey: Survey, found: Detection, classes: Sequence[str]) -> DetectedTest | None:
    """Return the images to predict: a folder without labels, or images listed in a table without labels.

    Raises:
        KitError: The rows of the sample submission are not images, and no table joins them with images.
    """
    parts = [found.train, *found.held_out.values()]
    labeled_tables = [part.table for part in parts]
    tables = [t for t in survey.tables if all(t is not own for own in labeled_tables) and _may_list_test(t)]
    labeled = [folder for part in parts for folder in part.folders or (part.folder,)]
    folder = _test_folder(survey, labeled, tables)
    empty = next((f for f in survey.empty if has_word(f, *TEST_WORDS)), None)
    if empty is not None and (folder is None or not has_word(folder, *TEST_WORDS)):
        return _empty_test(survey, empty)
    if folder is None:
        return None
    what = "images, with and without labels" if folder in labeled else "images without labels"
    where = Finding("competition.test.folder", folder, f"{len(survey.images[folder])} {what}")
    tables = [t for t in tables if t.folder == folder]
    sample = _sample_of(survey, folder)
    if sample is None:
        return _with_other_sample(survey, folder, tables, where, classes)
    table = _list_of_ids(tables)
    return _listed(survey, table, where, sample) if table else _every_image(survey, folder, tables, where)


def _may_list_test(table: Table) -> bool:
    """Return whether a table may list the images to predict; a sample may have several rows per image."""
    return not has_role(table.name, "solution") and (is_sample(table.name) or not table.repeats)


def _with_other_sample(
    survey: Survey, folder: str, tables: Sequence[Table], where: Finding, classes: Sequence[str]
) -> DetectedTest:
    """Return the test images if no sample lists them by name: it is missing, or has other ids."""
    table = _list_of_ids(tables)
    samples = _samples_without_images(survey)
    styles = ((sample, _long_style(sample, survey, folder, classes)) for sample in samples)
    for long, style in styles:
        if style is None:
            continue
        if table is not None:
            return _listed(survey, table, where, long)
        because = f"combined with a class, they are the ids of {name_of(long, survey)}"
        ids = [image_id(image, style) for image in survey.images[folder]]
        findings = [where, Finding("competition.test.ids", style, because)]
        return DetectedTest(findings, ids, long.header[0], None, long)
    for sample in samples:
        joined = _joined(survey, sample, tables, where)
        if joined is None:
            raise _unmatched(survey, sample, folder)
        return joined
    return _listed(survey, table, where, None) if table else _every_image(survey, folder, tables, where)


def _empty_test(survey: Survey, folder: str) -> DetectedTest:
    """Return a test set whose images are not there yet; the sample says their ids."""
    because = "the folder is empty: no submission until it has images"
    findings = [Finding("competition.test.folder", folder, because)]
    names = sorted(n for n in (*(t.name for t in survey.tables), *survey.ignored) if is_sample(n))
    if not names:
        return DetectedTest(findings, [])
    sample = read_sample(survey.root / names[0])
    ids = sample.columns[0].to_pylist()
    style: IdStyle = "name" if ids and is_image(ids[0]) else "stem"
    findings += [
        Finding("competition.test.file", names[0], f"lists {counted(len(ids), 'test id')}"),
        Finding("competition.test.id", sample.header[0], "the first column"),
        Finding("competition.test.ids", style, "by the first id"),
    ]
    return DetectedTest(findings, ids, sample.header[0], None, sample)


def _list_of_ids(tables: Sequence[Table]) -> Table | None:
    """Return the table that lists the test images: the sample, or a complete one, named test if possible."""
    samples = [t for t in tables if is_sample(t.name)]
    complete = [t for t in tables if t.matched == len(t.cells)]
    return next(iter(samples or [t for t in complete if has_role(t.name, "test")] or complete), None)


def _listed(survey: Survey, table: Table, where: Finding, sample: Sample | None) -> DetectedTest:
    findings = [
        where,
        Finding("competition.test.file", table.name, f"lists {counted(len(table.cells), 'test id')}"),
        Finding("competition.test.id", table.id, table.because),
        Finding("competition.test.ids", table.ids, table.style),
    ]
    if table.repeats:
        findings = [where, Finding("competition.test.ids", table.ids, f"{table.name}: {table.style}")]
    is_own = sample is not None and name_of(sample, survey) == table.name
    is_by_row = table.rule or table.ids == "folder"
    images = [image_id(image, table.ids) for image in survey.images[table.folder]]
    ids = list(table.cells[table.id]) if is_by_row else images
    return DetectedTest(findings, ids, table.id if is_own else None, table, sample)


def _every_image(survey: Survey, folder: str, incomplete: Sequence[Table], where: Finding) -> DetectedTest:
    """Return a test set that no file lists."""
    ignored = [
        f"{t.name} lists {counted(len(t.cells) - t.matched, 'image')} that do not exist" for t in incomplete
    ]
    ignored += [f"{n} cannot be read ({why})" for n, why in survey.ignored.items() if has_role(n, "test")]
    because = f"{ignored[0] if ignored else 'no file lists the test ids'}: every image of the folder"
    return DetectedTest([where, Finding("competition.test.ids", "name", because)], survey.images[folder])


def _joined(survey: Survey, sample: Sample, tables: Sequence[Table], where: Finding) -> DetectedTest | None:
    """Return the test images if a column of a table has the ids of the sample beside the image names."""
    rows = sample.columns[0].to_pylist()
    for table in tables:
        for column in table.others:
            if set(table.cells[column]) != set(rows):
                continue
            name = name_of(sample, survey)
            has_rows = f"has the {counted(len(rows), 'id')} of {name}"
            if table.cells[column].duplicated().any():
                several = f"{has_rows}: the predictions of the images of a row are averaged"
                keys = [("id", table.id, table.because), ("row", column, several)]
            else:
                keys = [("id", column, has_rows), ("image", table.id, table.because)]
            findings = [
                where,
                Finding("competition.test.file", table.name, f"joins the ids of {name} with images"),
                *(Finding(f"competition.test.{key}", value, why) for key, value, why in keys),
                Finding("competition.test.ids", table.ids, table.style),
            ]
            return DetectedTest(findings, rows, sample.header[0], table, sample)
    return None


def _unmatched(survey: Survey, sample: Sample, folder: str) -> KitError:
    ids = sample.columns[0].to_pylist()
    return KitError(
        name_of(sample, survey),
        f"its ids ({first_few(ids[:2])}) are not images of {folder}/ "
        f"({first_few(survey.images[folder][:2])}), and no table joins them",
        "Every row of the sample submission belongs to test images",
        "Add a table with these ids and the names of their images, or rename the file if it is no sample.",
        code="sample_unmatched",
    )


def is_sample(name: str) -> bool:
    """Return whether a file name is that of a sample submission."""
    return has_role(name, "sample", "submission")


def name_of(sample: Sample, survey: Survey) -> str:
    """Return the path of a sample, relative to the competition's folder."""
    return sample.path.relative_to(survey.root).as_posix()


def _sample_of(survey: Survey, folder: str) -> Sample | None:
    """Return the sample whose ids are the images of a folder."""
    names = [t.name for t in survey.tables if t.folder == folder and t.others and is_sample(t.name)]
    return read_sample(survey.root / names[0]) if names else None


def _samples_without_images(survey: Survey) -> list[Sample]:
    """Return the readable samples none of whose columns names images."""
    samples = []
    for name in filter(is_sample, survey.ignored):
        try:
            samples.append(read_sample(survey.root / name))
        except KitError:
            continue  # `kit init` says why the file is ignored
    return samples


def _long_style(sample: Sample, survey: Survey, folder: str, classes: Sequence[str]) -> IdStyle | None:
    """Return the style of the image ids in a sample whose ids combine image and class, else None."""
    styles: tuple[IdStyle, ...] = ("name", "stem")
    for style in styles:
        images = [image_id(image, style) for image in survey.images[folder]]
        facts = CompetitionFacts(tuple(classes), MULTILABEL, images)
        if find_long_rows(sample.columns[0].to_pylist(), facts) is not None:
            return style
    return None


def _test_folder(survey: Survey, labeled: Sequence[str], tables: Sequence[Table]) -> str | None:
    """Return the folder of the images to predict: named test, or without subfolders, or given by a table."""
    apart = [f for f in survey.images if not any(_overlap(f, other) for other in labeled)]
    named = [f for f in apart if has_word(f, *TEST_WORDS)]
    flat = [f for f in apart if f not in survey.class_folders and not _has_folders(survey, f)]
    return next(iter(named or flat), None) or next((t.folder for t in tables), None)


def _overlap(a: str, b: str) -> bool:
    """Return whether one folder is the other, or lies in it."""
    x, y = PurePosixPath(a), PurePosixPath(b)
    return x.is_relative_to(y) or y.is_relative_to(x)


def _has_folders(survey: Survey, folder: str) -> bool:
    return any(f != folder and PurePosixPath(f).is_relative_to(folder) for f in survey.images)

"""Load a competition: tables of training, held-out and test images, with task, metric and classes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from kit.competition.corrections import with_corrections
from kit.competition.images.files import ImageFolder, list_images
from kit.competition.layouts import LabeledImages, layouts
from kit.competition.layouts.base import PLAIN_COLUMNS, classes_in, images_table, without_listed
from kit.competition.tables.read import column, read_table, unique_ids
from kit.config import CompetitionConfig, LabeledSource, TestSource
from kit.errors import KitError, counted, first_few
from kit.metrics import Metric, get_metric
from kit.natural import natural_key
from kit.storage.workspace import Workspace
from kit.submission_format.spelling import NUMBER
from kit.tasks import LABEL, NO_LABEL, UNKNOWN, VALUE, Task, tasks

EXTRA = "extra"  # in column `source`: from competition.extra, always trained on and never validated


@dataclass(frozen=True)
class Competition:
    """A competition's data, read and checked.

    Attributes:
        root: The competition's folder; every ``path`` is relative to it.
        classes: The class names, in the order that every artifact uses.
        train: ``id path`` and the labels (``label``, one 0/1 column per class, or ``value``; of distributions
            ``label`` and one column of shares per class), including samples without a label; optionally
            ``group``, ``given_fold``, ``source`` and for crops ``xmin ymin xmax ymax``.
        held_out: Name -> labeled samples that are scored and never trained on.
        test: ``id path``, in the order of the file that lists them; empty without a test set. With ``row``,
            the id of the submission's row, if several images share a row.
        corrected: The ids of ``train`` that ``competition.corrections`` lists.
    """

    name: str
    root: Path
    task: Task
    metric: Metric
    classes: tuple[str, ...]
    train: pd.DataFrame
    held_out: dict[str, pd.DataFrame]
    test: pd.DataFrame
    corrected: frozenset[str] = frozenset()

    @property
    def label_columns(self) -> list[str]:
        """The columns of ``train`` that hold the labels."""
        return self.task.label_columns(self.classes)

    @property
    def labeled(self) -> pd.DataFrame:
        """The samples of ``train`` that have a label."""
        return self.train[self.task.labeled(self.train, self.classes)]

    def class_counts(self) -> pd.Series:
        """Return the number of training images of each class, in class order; of all images for numbers.

        An image whose label is a distribution counts for the class with the largest share.
        """
        if self.task.numeric:
            return pd.Series([len(self.labeled)], index=list(self.classes))
        targets = self.task.majority(self.task.targets(self.labeled, self.classes))
        counts = self.task.one_hot(targets, len(self.classes)).sum(axis=0)
        return pd.Series(counts.astype(np.int64), index=list(self.classes))


def load_competition(config: CompetitionConfig, workspace: Workspace) -> Competition:
    """Return the competition of a config.

    Raises:
        KitError: The folder contradicts the config or itself.
    """
    task = tasks.get(config.task, "competition.task")
    metric = get_metric(config.metric, task)
    root = workspace.data(config.data)
    train = _read(root, config.train, config, task)
    extra = [_with_paths_as_ids(_read(root, each, config, task)) for each in config.extra]
    held_out = {name: _read(root, source, config, task) for name, source in config.held_out.items()}
    test, unlisted_test = read_test(root, config.test)
    classes = _class_order(config, task, train)
    samples = _with_unlisted([train, *extra], held_out, test, unlisted_test, config, classes, root)
    samples = _with_groups(samples, config.group_pattern)
    corrected: frozenset[str] = frozenset()
    if config.corrections is not None:
        samples, corrected = with_corrections(samples, workspace.root / config.corrections, classes, task)
    sets = {name: _aligned(images, classes, f"held_out.{name}", task) for name, images in held_out.items()}
    for name, table in (("train", samples), *sets.items(), ("test", test)):
        if config.case == "refuse":
            check_spellings(table["id"], f"{root}, {name} ids")
    _check_overlap(samples, sets)
    return Competition(config.name, root, task, metric, classes, samples, sets, test, corrected)


def _read(root: Path, source: LabeledSource, config: CompetitionConfig, task: Task) -> LabeledImages:
    """Return the samples of a source, with labels in the form that the task needs."""
    images = layouts.get(source.layout).read(root, source, config)
    if task.numeric:
        return replace(images, samples=with_numbers(images.samples, images.file or str(root / source.folder)))
    if task.soft:
        return _with_shares(images, f"{root}, layout {source.layout}")
    if task.exclusive == (LABEL in images.samples):
        return images
    if not task.exclusive:
        raise KitError(
            "competition.train",
            f"has one label per image, which does not suit the task {task.name}",
            "It needs one 0/1 column per class (label: a list), or cells with several classes (separator)",
            code="labels_do_not_suit_task",
        )
    return replace(images, samples=_one_class_each(images.samples, f"{root}, layout {source.layout}"))


def _with_shares(images: LabeledImages, where: str) -> LabeledImages:
    """Return the images, which must have one column of shares per class."""
    names = [] if LABEL in images.samples else classes_in(images.samples)
    if names and (images.samples[names].dtypes == np.float64).all():
        return images
    raise KitError(
        images.file or where,
        f"has {'0/1 columns' if names else 'one label per image'}, and the task is one of distributions",
        "It needs votes or probabilities in a column per class (`votes: true`), or one row per vote "
        "(`rows: label`)",
        "Name them, or set `competition.task: multiclass`.",
        code="labels_do_not_suit_task",
    )


def _one_class_each(samples: pd.DataFrame, where: str) -> pd.DataFrame:
    """Return samples with one label in place of 0/1 columns, exactly one of which must be 1."""
    names = classes_in(samples)
    block = samples[names].to_numpy()
    without_label = (block == UNKNOWN).all(axis=1)
    invalid = ~without_label & (block.sum(axis=1) != 1)
    if invalid.any():
        raise KitError(
            where,
            f"{counted(invalid.sum(), 'image has', 'images have')} no class or several "
            f"({first_few(list(samples['id'][invalid]))})",
            "In this task each image has exactly one class",
            "Set `competition.task: multilabel`.",
            code="labels_do_not_suit_task",
        )
    labels = np.where(without_label, NO_LABEL, np.array(names, dtype=object)[block.argmax(axis=1)])
    return samples.drop(columns=names).assign(**{LABEL: labels.astype(str)})


def with_numbers(samples: pd.DataFrame, where: str) -> pd.DataFrame:
    """Return samples with the column ``value`` in place of ``label``: float64, NaN without a label.

    Raises:
        KitError: The samples have several labels each, or a label is not a finite number.
    """
    if LABEL not in samples:
        raise KitError(
            where,
            "has several labels per image, which does not suit a task of numbers",
            "It needs one number per image: one label column, without separator and `rows: label`",
            code="labels_do_not_suit_task",
        )
    cells = samples[LABEL].str.strip()
    has_label = (cells != NO_LABEL).to_numpy(dtype=bool)
    valid = np.array([NUMBER.fullmatch(cell) is not None and "," not in cell for cell in cells], dtype=bool)
    numbers = np.array([float(c) if ok else np.nan for c, ok in zip(cells, valid, strict=True)])
    invalid = has_label & ~np.isfinite(numbers)
    if invalid.any():
        rows = samples[invalid]
        named = [f"{i}: '{label}'" for i, label in zip(rows["id"], rows[LABEL], strict=True)]
        raise KitError(
            where,
            f"{counted(invalid.sum(), 'label is', 'labels are')} not finite numbers ({first_few(named)})",
            "Every label of a task of numbers is a number with a decimal point",
            "Fix them, or leave them blank and set `competition.blank: unlabelled`.",
            code="label_not_a_number",
        )
    return samples.drop(columns=LABEL).assign(**{VALUE: numbers})


def _with_paths_as_ids(images: LabeledImages) -> LabeledImages:
    """Return extra samples with their paths as ids, because their names may be taken."""
    samples = images.samples
    if not samples["path"].duplicated().any():
        samples = samples.assign(id=samples["path"])
    return replace(images, samples=samples.assign(source=EXTRA))


def read_test(root: Path, source: TestSource | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return ``id path`` of the images to predict, and of images that their list does not mention."""
    nothing = images_table({})
    if source is None:
        return nothing, nothing
    if (root / source.folder).is_dir() and not list_images(root, source.folder):
        return nothing, nothing  # a hidden test set: its images come later
    by_folder = source.ids == "folder"
    images = ImageFolder.open(root, source.folder, "name" if by_folder else source.ids)
    if source.file is None:
        return images_table(images.paths), nothing
    path = root / source.file
    table = read_table(path)
    if table.empty:
        raise KitError(path, "lists no test id", "Each test image has a row", code="table_empty")
    ids = unique_ids(column(table, source.id or "", path, "competition.test.id"), path)
    names = ids if source.image is None else column(table, source.image, path, "competition.test.image")
    if by_folder:
        found = images.in_folders(names, path)[["id", "path"]]
    else:
        found = pd.DataFrame({"id": ids, "path": images.find(names, path)}, dtype=str)
    if source.row is not None:
        found["row"] = column(table, source.row, path, "competition.test.row")
    return found, without_listed(images.paths, found["path"])


def _with_unlisted(
    sources: Sequence[LabeledImages],
    held_out: dict[str, LabeledImages],
    test: pd.DataFrame,
    unlisted_test: pd.DataFrame,
    config: CompetitionConfig,
    classes: tuple[str, ...],
    root: Path,
) -> pd.DataFrame:
    """Return all training samples; the config's ``unlisted`` decides about images that no table mentions."""
    task = tasks.get(config.task)
    labeled = [_aligned(sources[0], classes, "train", task)]
    labeled += [_aligned(images, classes, "extra", task) for images in sources[1:]]
    tables = [*labeled, *(images.samples for images in held_out.values()), test]
    listed = {path for table in tables for path in table["path"].tolist()}
    unlisted = _unlisted(pd.concat([each.unlisted for each in (*sources, *held_out.values())]), listed)
    lost = pd.concat([unlisted, _unlisted(unlisted_test, listed)])
    if config.unlisted == "refuse" and len(lost):
        also = "" if task.exclusive or task.numeric else " or negative (they have no class)"
        raise KitError(
            root,
            f"{counted(len(lost), 'image is', 'images are')} in no list and no class folder "
            f"({first_few(list(lost['path']))})",
            "Every image has a label or is a test image",
            f"Add their rows, remove them, or set `competition.unlisted` to ignore, unlabelled{also}.",
            code="images_unlisted",
        )
    if config.unlisted in ("unlabelled", "negative") and len(unlisted):
        labeled.append(_with_same_label(unlisted, classes, config))
    samples = pd.concat(labeled, ignore_index=True)
    unique_ids(samples["id"], root)
    texts = [name for name in ("group", "given_fold", "source") if name in samples]
    return samples.fillna(dict.fromkeys(texts, ""))


def _unlisted(images: pd.DataFrame, listed: AbstractSet[str]) -> pd.DataFrame:
    """Return the images that are not listed."""
    return images[[path not in listed for path in images["path"].tolist()]]  # isin() would copy the large set


def _with_same_label(images: pd.DataFrame, classes: Sequence[str], config: CompetitionConfig) -> pd.DataFrame:
    """Return images as samples without a label, or (``unlisted: negative``) with no class."""
    if tasks.get(config.task).exclusive:
        return images.assign(**{LABEL: NO_LABEL})
    if tasks.get(config.task).numeric:
        return images.assign(**{VALUE: np.nan})
    value = 0 if config.unlisted == "negative" else UNKNOWN
    block = pd.DataFrame(value, index=images.index, columns=list(classes), dtype="int8")
    return pd.concat([images, block], axis=1)


def _with_groups(samples: pd.DataFrame, pattern: str | None) -> pd.DataFrame:
    if pattern is None:
        return samples
    groups = samples["id"].map(lambda i: match[1] if (match := re.search(pattern, i)) else None)
    without = groups.isna()
    if without.any():
        raise KitError(
            "competition.group_pattern",
            f"{pattern} is not found in {counted(without.sum(), 'id')} "
            f"({first_few(list(samples['id'][without]))})",
            "The pattern must find a group in every id",
            code="pattern_mismatch",
        )
    return samples.assign(group=groups.astype(str))


def _aligned(images: LabeledImages, classes: Sequence[str], where: str, task: Task) -> pd.DataFrame:
    """Return samples with exactly these classes; a class that does not occur is a column of 0."""
    unknown = [name for name in images.classes if name not in set(classes)]
    if unknown:
        raise KitError(
            f"competition.{where}",
            f"has {counted(len(unknown), 'class', 'classes')} that competition.train does not have "
            f"({first_few(unknown)})",
            "Every set has the classes of the training images",
            code="classes_differ",
        )
    samples = images.samples
    if LABEL in samples or task.numeric:
        return samples
    plain = samples[[name for name in samples.columns if name in PLAIN_COLUMNS]]
    block = samples.reindex(columns=list(classes), fill_value=0)
    if task.soft:
        return pd.concat([plain.assign(**{LABEL: _largest_shares(block)}), block], axis=1)
    return pd.concat([plain, block.astype("int8")], axis=1)


def _largest_shares(shares: pd.DataFrame) -> pd.Series:
    """Return the class with the largest share of each row, (N,): of equal ones, the first; blank for NaN."""
    without_label = shares.isna().any(axis=1)
    return shares.fillna(0.0).idxmax(axis=1).astype(str).mask(without_label, NO_LABEL)


def check_spellings(names: Iterable[str], where: str) -> None:
    """Refuse names that differ only in spaces, accents, ``1.0`` for 1, or case: usually one is a typo.

    Raises:
        KitError: Such names exist.
    """
    texts = pd.Series(list(names), dtype=str)
    spelled = texts.map(lambda name: _without_decimals(unicodedata.normalize("NFC", name).strip()))
    spelled = spelled.str.casefold()
    alike = texts[spelled.duplicated(keep=False)]
    if len(alike):
        pairs = [f"'{name}'" for name in sorted(alike, key=lambda name: (name.strip().casefold(), name))]
        raise KitError(
            where,
            f"{counted(len(alike), 'name differs', 'names differ')} only in case, spaces, accents or "
            f"'.0' ({first_few(pairs)})",
            "Such names are usually two spellings of one",
            "Fix them, or set `competition.case: distinct` if they are different.",
            code="case_differs",
        )


def _without_decimals(name: str) -> str:
    """Return ``1`` for ``1.0``."""
    return name.partition(".")[0] if name.endswith("0") and re.fullmatch(r"[+-]?\d+[.]0+", name) else name


def _check_overlap(train: pd.DataFrame, held_out: dict[str, pd.DataFrame]) -> None:
    paths = set(train["path"])
    for name, table in held_out.items():
        both = table["path"][table["path"].isin(paths)]
        if len(both):
            raise KitError(
                f"competition.held_out.{name}",
                f"{len(both)} of its images are training images too ({first_few(list(both))})",
                "Held-out images are never trained on",
                code="held_out_overlap",
            )


def _class_order(config: CompetitionConfig, task: Task, train: LabeledImages) -> tuple[str, ...]:
    """Return the class names in the config's order, or in natural order."""
    found = train.classes
    if "id" in found:  # the only reserved name for classes that are values, not columns
        problem = "a class has the name of the id column, 'id'"
        raise KitError("competition.train", problem, "", "Rename the class.", code="class_name_reserved")
    if task.numeric:
        return (VALUE,)
    if found == [VALUE]:
        problem = f"has the single class '{VALUE}', which is the name of kit's column of numbers"
        raise KitError("competition.train", problem, "", "Rename the class.", code="class_name_reserved")
    if config.case == "refuse":
        check_spellings(found, "competition.train, classes")
    if task.num_classes not in (None, len(found)):
        raise KitError(
            "competition.task",
            f"is {task.name}, but the data has {counted(len(found), 'class', 'classes')} "
            f"({first_few(found)})",
            next="Set `competition.task: multiclass`.",
            code="num_classes_wrong",
        )
    if len(found) < 2 and task.exclusive:
        problem = f"has only the class {first_few(found)}"
        raise KitError("competition.train", problem, "A task needs two or more", code="num_classes_wrong")
    if config.classes is None:
        return tuple(found)
    if set(config.classes) != set(found) or len(set(config.classes)) != len(config.classes):
        differ = sorted(set(config.classes) ^ set(found), key=natural_key)
        raise KitError(
            "competition.classes",
            f"are not the classes of the data (different: {first_few(differ)})",
            "Each class of the data is listed once",
            code="classes_differ",
        )
    return tuple(config.classes)

"""A competition as tables: which images there are, what is known of them, what is asked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from kit.competition.files import ImageFolder
from kit.competition.layouts import (
    BLANK_CLASS,
    PLAIN_COLUMNS,
    UNKNOWN,
    Reading,
    classes_in,
    images_table,
    layouts,
)
from kit.competition.tables import column, read_table, unique_ids
from kit.config import CompetitionConfig, LabelledSource, TestSource
from kit.errors import KitError, first_few
from kit.metrics import Metric, get_metric
from kit.natural import natural_key
from kit.storage.workspace import Workspace
from kit.tasks import Task, tasks

EXTRA = "extra"  # in column `source`: from competition.extra, always trained on, never validated


@dataclass(frozen=True)
class Competition:
    """What a competition folder says, read and checked.

    Attributes:
        root: The competition's folder; every ``path`` is relative to it.
        classes: The class names, in the one order that every artifact uses.
        train: ``id path`` and the labels (``label``, or one 0/1 column per class), those without a label
            included; perhaps ``group``, ``given_fold``, ``source`` and for crops ``xmin ymin xmax ymax``.
        held_out: Name -> samples with labels that are scored and never trained on.
        test: ``id path``, in the order of the file that lists them; empty where nothing is to be predicted.
    """

    name: str
    root: Path
    task: Task
    metric: Metric
    classes: tuple[str, ...]
    train: pd.DataFrame
    held_out: dict[str, pd.DataFrame]
    test: pd.DataFrame

    @property
    def label_columns(self) -> list[str]:
        """The columns of ``train`` that hold the labels."""
        return self.task.label_columns(self.classes)

    @property
    def labeled(self) -> pd.DataFrame:
        """The samples of ``train`` that have a label."""
        return self.train[self.task.labeled(self.train, self.classes)]

    def class_counts(self) -> pd.Series:
        """Return the number of training images of each class, in class order."""
        targets = self.task.targets(self.labeled, self.classes)
        counts = self.task.one_hot(targets, len(self.classes)).sum(axis=0)
        return pd.Series(counts.astype(np.int64), index=list(self.classes))


def load_competition(config: CompetitionConfig, workspace: Workspace) -> Competition:
    """Return the competition that a config describes.

    Raises:
        KitError: Anything in the folder contradicts the config or itself.
    """
    task = tasks.get(config.task, "competition.task")
    metric = get_metric(config.metric, task)
    root = workspace.data(config.data)
    train = _read(root, config.train, config, task)
    extra = [_with_paths_as_ids(_read(root, each, config, task)) for each in config.extra]
    held_out = {name: _read(root, source, config, task) for name, source in config.held_out.items()}
    test, unlisted_test = _read_test(root, config.test)
    classes = _class_order(config, task, train)
    samples = _with_unlisted([train, *extra], held_out, test, unlisted_test, config, classes, root)
    samples = _with_groups(samples, config.group_pattern)
    sets = {name: _aligned(reading, classes, f"held_out.{name}") for name, reading in held_out.items()}
    for name, table in (("train", samples), *sets.items(), ("test", test)):
        if config.case == "refuse":
            _refuse_same_but_case(table["id"], f"{root}, {name} ids")
    _refuse_overlap(samples, sets)
    return Competition(config.name, root, task, metric, classes, samples, sets, test)


def _read(root: Path, source: LabelledSource, config: CompetitionConfig, task: Task) -> Reading:
    """Return what a source says, its labels in the form that the task takes."""
    reading = layouts.get(source.layout)(root, source, config)
    if task.exclusive == ("label" in reading.samples):
        return reading
    if not task.exclusive:
        raise KitError(
            "competition.train",
            f"has one label per image, which does not fit the task {task.name}",
            "It takes one 0/1 column per class (label: a list), or cells with several (separator)",
        )
    return replace(reading, samples=_one_class_each(reading.samples, f"{root}, layout {source.layout}"))


def _one_class_each(samples: pd.DataFrame, where: str) -> pd.DataFrame:
    """Return samples whose 0/1 columns have become one label: of exclusive classes, one is set."""
    names = classes_in(samples)
    block = samples[names].to_numpy()
    silent = (block == UNKNOWN).all(axis=1)
    odd = ~silent & (block.sum(axis=1) != 1)
    if odd.any():
        raise KitError(
            where,
            f"{odd.sum()} images have no class or several ({first_few(list(samples['id'][odd]))})",
            "Each has one under this task",
            "Set `competition.task: multilabel`.",
        )
    labels = np.where(silent, BLANK_CLASS, np.array(names, dtype=object)[block.argmax(axis=1)])
    return samples.drop(columns=names).assign(label=labels.astype(str))


def _with_paths_as_ids(reading: Reading) -> Reading:
    """Return extra samples under ids of their own: their paths, since their names may be taken."""
    samples = reading.samples
    if not samples["path"].duplicated().any():
        samples = samples.assign(id=samples["path"])
    return replace(reading, samples=samples.assign(source=EXTRA))


def _read_test(root: Path, source: TestSource | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return ``id path`` of the images to predict, and of those that their list leaves out."""
    nothing = images_table({})
    if source is None:
        return nothing, nothing
    images = ImageFolder.open(root, source.folder, source.ids)
    if source.file is None:
        return images_table(images.paths), nothing
    path = root / source.file
    table = read_table(path)
    if table.empty:
        raise KitError(path, "lists no test id", "One row per test image")
    ids = unique_ids(column(table, source.id or "", path, "competition.test.id"), path)
    found = pd.DataFrame({"id": ids, "path": images.find(ids, path)}, dtype=str)
    listed = set(found["path"])
    return found, images_table({i: p for i, p in images.paths.items() if p not in listed})


def _with_unlisted(
    readings: Sequence[Reading],
    held_out: dict[str, Reading],
    test: pd.DataFrame,
    unlisted_test: pd.DataFrame,
    config: CompetitionConfig,
    classes: tuple[str, ...],
    root: Path,
) -> pd.DataFrame:
    """Return all training samples; images that no table mentions are treated as ``unlisted`` says."""
    labelled = [_aligned(readings[0], classes, "train")]
    labelled += [_aligned(reading, classes, "extra") for reading in readings[1:]]
    tables = [*labelled, *(reading.samples for reading in held_out.values()), test]
    listed = {path for table in tables for path in table["path"]}
    unlisted = pd.concat([each.unlisted for each in (*readings, *held_out.values())])
    unlisted = unlisted[~unlisted["path"].isin(listed)]
    lost = pd.concat([unlisted, unlisted_test[~unlisted_test["path"].isin(listed)]])
    if config.unlisted == "refuse" and len(lost):
        also = ", negative (they have no class)" if config.task == "multilabel" else ""
        raise KitError(
            root,
            f"{len(lost)} images are in no list and no class folder ({first_few(list(lost['path']))})",
            "Every image is labelled or to be predicted",
            f"Add their rows, remove them, or set `competition.unlisted`: ignore, unlabelled{also}.",
        )
    if config.unlisted in ("unlabelled", "negative") and len(unlisted):
        labelled.append(_all_alike(unlisted, classes, config))
    samples = pd.concat(labelled, ignore_index=True)
    unique_ids(samples["id"], root)
    texts = [name for name in ("group", "given_fold", "source") if name in samples]
    return samples.fillna(dict.fromkeys(texts, ""))


def _all_alike(images: pd.DataFrame, classes: Sequence[str], config: CompetitionConfig) -> pd.DataFrame:
    """Return images as samples without any class, or (exclusive tasks, or unlabelled) without a label."""
    if tasks.get(config.task).exclusive:
        return images.assign(label=BLANK_CLASS)
    value = 0 if config.unlisted == "negative" else UNKNOWN
    block = pd.DataFrame(value, index=images.index, columns=list(classes), dtype="int8")
    return pd.concat([images, block], axis=1)


def _with_groups(samples: pd.DataFrame, pattern: str | None) -> pd.DataFrame:
    if pattern is None:
        return samples
    groups = samples["id"].map(lambda i: match[1] if (match := re.search(pattern, i)) else None)
    odd = groups.isna()
    if odd.any():
        raise KitError(
            "competition.group_pattern",
            f"{pattern} is not found in {odd.sum()} ids ({first_few(list(samples['id'][odd]))})",
            "Every id tells its group",
        )
    return samples.assign(group=groups.astype(str))


def _aligned(reading: Reading, classes: Sequence[str], where: str) -> pd.DataFrame:
    """Return samples with exactly these classes; one that does not occur among them is a column of 0."""
    foreign = [name for name in reading.classes if name not in set(classes)]
    if foreign:
        raise KitError(
            f"competition.{where}",
            f"has {len(foreign)} classes that competition.train has not ({first_few(foreign)})",
            "Every set has the classes of the training images",
        )
    samples = reading.samples
    if "label" in samples:
        return samples
    plain = [name for name in samples.columns if name in PLAIN_COLUMNS]
    block = samples.reindex(columns=list(classes), fill_value=0).astype("int8")
    return pd.concat([samples[plain], block], axis=1)


def _refuse_same_but_case(names: pd.Series, where: str) -> None:
    """Refuse names that differ only in upper and lower case: one of them is a slip, or another image's."""
    lower = names.str.lower()
    alike = names[lower.duplicated(keep=False)]
    if len(alike):
        pairs = sorted(alike, key=str.lower)
        raise KitError(
            where,
            f"{len(alike)} names differ only in case ({first_few(pairs)})",
            "Such names are usually one, written in two ways",
            "Mend them, or set `competition.case: distinct` if they are meant.",
        )


def _refuse_overlap(train: pd.DataFrame, held_out: dict[str, pd.DataFrame]) -> None:
    paths = set(train["path"])
    for name, table in held_out.items():
        both = table["path"][table["path"].isin(paths)]
        if len(both):
            raise KitError(
                f"competition.held_out.{name}",
                f"{len(both)} of its images are training images too ({first_few(list(both))})",
                "What is held out is never trained on",
            )


def _class_order(config: CompetitionConfig, task: Task, train: Reading) -> tuple[str, ...]:
    """Return the class names in the config's order, or in natural order."""
    found = train.classes
    if "id" in found:  # the others of kit's columns are no danger where classes are values
        raise KitError(
            "competition.train", "a class is called 'id', like the column of ids", "", "Rename the class."
        )
    if config.case == "refuse":
        _refuse_same_but_case(pd.Series(found, dtype=str), "competition.train, classes")
    if task.name == "binary" and len(found) != 2:
        raise KitError(
            "competition.task",
            f"is binary, and there are {len(found)} classes ({first_few(found)})",
            next="Set `competition.task: multiclass`.",
        )
    if len(found) < 2 and task.exclusive:
        raise KitError(
            "competition.train", f"has only the class {first_few(found)}", "A task has two or more"
        )
    if config.classes is None:
        return tuple(found)
    if set(config.classes) != set(found) or len(set(config.classes)) != len(config.classes):
        odd = sorted(set(config.classes) ^ set(found), key=natural_key)
        raise KitError(
            "competition.classes",
            f"are not the classes of the data (differing: {first_few(odd)})",
            "Each class once",
        )
    return tuple(config.classes)
